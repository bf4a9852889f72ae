//! What Kafka can do for a channel. It is the same for every version that polymq supports.

use polymq_core::broker::{Capabilities, Capability, ChannelRole, ChannelSpec, Limits};

use crate::config::BrokerTable;
use crate::tiers;

/// Kafka limits headers by the size of the message only; handlers and tools need not.
const MAX_HEADER_BYTES: usize = 256 << 10;

const MAX_HEADERS: usize = 1024;

/// What a cluster can do for a channel of this shape.
pub(crate) fn capabilities(
    product: &str,
    table: &BrokerTable,
    channel: &ChannelSpec,
) -> Capabilities {
    use Capability as C;
    let mut can = Capabilities::of([
        C::Queue,
        C::Topic,
        C::OrderByKey,
        C::OrderedPipelining,
        C::DelayedRetry,
        C::Replay,
        C::Retention,
        C::Replicas,
        C::Browse,
        C::BrowseRemove,
        C::Purge,
        C::DeliveryCount,
    ])
    .with_limits(limits(table));
    if channel.role == ChannelRole::Application {
        can = can.without(
            C::BrowseRemove,
            format!("a log of {product} forgets single messages only where it is compacted"),
            "remove dead letters, or move the group past the message: `polymq seek`",
        );
    }
    can.without(
        C::MaxBytes,
        format!("a full log of {product} drops its oldest messages and tells nobody"),
        "remove `max_bytes`, and bound the channel by `retention`",
    )
    .without(
        C::Priority,
        format!("{product} hands out in the order of the log"),
        "use a channel per priority",
    )
    .without(
        C::Atomic,
        format!("a transaction of {product} commits an offset and with it every earlier message of the partition, handled or not"),
        "use a deduplication store",
    )
}

fn limits(table: &BrokerTable) -> Limits {
    let mut limits = Limits::default();
    limits.max_message_bytes = table.max_message_bytes();
    limits.max_header_bytes = MAX_HEADER_BYTES.min(table.max_message_bytes() / 2);
    limits.max_headers = MAX_HEADERS;
    limits.max_delay = Some(tiers::LONGEST);
    limits.delay_slack = tiers::SLACK;
    limits.max_uncommitted = table.max_uncommitted;
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn can(channel: &ChannelSpec) -> Capabilities {
        capabilities("Kafka", &BrokerTable::default(), channel)
    }

    #[test]
    fn every_denial_names_the_product_and_a_fix() {
        let queue = ChannelSpec::queue("orders".parse().unwrap());
        for denial in Capability::ALL.iter().filter_map(|c| can(&queue).denial(*c)) {
            assert!(denial.reason.contains("Kafka"), "{denial:?}");
            assert!(!denial.fix.is_empty(), "{denial:?}");
        }
    }

    #[test]
    fn only_dead_letters_can_be_removed() {
        let dead = ChannelSpec::dead_letter("orders-dead".parse().unwrap());
        assert!(can(&dead).has(Capability::BrowseRemove));
        assert!(!can(&ChannelSpec::queue("orders".parse().unwrap())).has(Capability::BrowseRemove));
    }
}
