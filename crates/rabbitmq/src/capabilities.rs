//! What RabbitMQ, at its running version, can do for a channel.

use std::time::Duration;

use polymq_core::broker::{Capabilities, Capability, ChannelKind, ChannelSpec, Limits};

use crate::config::{BrokerTable, ChannelTable};
use crate::steps;
use crate::topology::CONSUMER_TIMEOUT;
use crate::version::Version;

/// What is left of a frame of 128 KiB, into which all headers must fit, beside the properties and what
/// each header costs.
const MAX_HEADER_BYTES: usize = 112 << 10;

const MAX_HEADERS: usize = 1024;

/// RabbitMQ's own consumer timeout.
const DEFAULT_CONSUMER_TIMEOUT: Duration = Duration::from_secs(1800);

/// The oldest version that keeps what polymq promises.
const OLDEST: (u16, u16) = (4, 0);

/// From here on a consumer says itself how long it may hold a message.
const CONSUMER_TIMEOUT_PER_CONSUMER: (u16, u16) = (4, 3);

/// What a broker of this version can do for a channel of this shape.
pub(crate) fn capabilities(
    version: &Version,
    table: &BrokerTable,
    channel: &ChannelSpec,
) -> Capabilities {
    use Capability as C;
    let has_foreign_queue = ChannelTable::read(&channel.settings)
        .is_ok_and(|table| table.queue.is_some() || !table.groups.is_empty());
    let mut can = Capabilities::of([
        C::Queue,
        C::Topic,
        C::OrderByKey,
        C::DelayedRetry,
        C::MaxBytes,
        C::Retention,
        C::Replicas,
        C::Browse,
        C::BrowseRemove,
        C::Purge,
        C::DeliveryCount,
    ])
    .with_limits(limits(version, table, has_foreign_queue));
    if !version.is_at_least(OLDEST.0, OLDEST.1) {
        for (capability, what) in [
            (C::Queue, "refuses a queue without a delivery limit"),
            (C::Topic, "refuses a queue without a delivery limit"),
            (C::OrderByKey, "refuses a queue without a delivery limit"),
        ] {
            can = can.without(
                capability,
                format!("{version} {what}"),
                "upgrade to RabbitMQ 4.0 or later",
            );
        }
    }
    if channel.kind == ChannelKind::Topic {
        can = can.without(
            C::MaxBytes,
            format!("a topic's exchange on {version} cannot tell which group's queue is full"),
            "remove `max_bytes`, or make the channel a queue",
        );
    }
    if channel.ordered {
        for capability in [C::Browse, C::BrowseRemove] {
            can = can.without(
                capability,
                format!("{version} shows what is in a partition to its active consumer only"),
                "look at the retry inbox or at the dead letters instead",
            );
        }
    }
    if has_foreign_queue {
        for (capability, key) in [(C::MaxBytes, "max_bytes"), (C::Replicas, "replicas")] {
            can = can.without(
                capability,
                format!("an existing queue on {version}, bound by name, is not changed"),
                format!("remove `{key}` and limit the queue itself, or unbind it"),
            );
        }
    }
    can.without(
        C::OrderedPipelining,
        format!(
            "{version} queues what it refused and the client sent again behind what came later"
        ),
        "none is needed: one message of a key is in flight at a time",
    )
    .without(
        C::Replay,
        format!("the queues of {version} forget what was handled"),
        "remove `start`, or use a broker that keeps what was handled: Kafka or NATS",
    )
    .without(
        C::Priority,
        format!("the priorities of {version} are not those of other versions"),
        "use a channel per priority",
    )
    .without(
        C::Atomic,
        format!("{version} has no transaction over sends and acks that survives a crash"),
        "use a deduplication store, or Kafka",
    )
}

fn limits(version: &Version, table: &BrokerTable, has_foreign_queue: bool) -> Limits {
    let (major, minor) = CONSUMER_TIMEOUT_PER_CONSUMER;
    let mut limits = Limits::default();
    limits.max_message_bytes = usize::try_from(table.max_message_bytes.0).unwrap_or(usize::MAX);
    limits.max_header_bytes = MAX_HEADER_BYTES;
    limits.max_headers = MAX_HEADERS;
    limits.max_delay = steps::BACKBONE.last().copied().map(Duration::from_secs);
    limits.max_lease = match (version.is_at_least(major, minor), has_foreign_queue) {
        (true, _) => None,
        (false, true) => Some(DEFAULT_CONSUMER_TIMEOUT),
        (false, false) => Some(CONSUMER_TIMEOUT),
    };
    limits
}

#[cfg(test)]
mod tests {
    use polymq_core::config::Settings;

    use super::*;

    fn can(version: &str, channel: &ChannelSpec) -> Capabilities {
        capabilities(&Version::new("RabbitMQ", version), &BrokerTable::default(), channel)
    }

    fn queue() -> ChannelSpec {
        ChannelSpec::queue("orders".parse().unwrap())
    }

    fn topic() -> ChannelSpec {
        ChannelSpec::topic("orders".parse().unwrap(), [])
    }

    #[test]
    fn every_denial_names_the_version_and_a_fix() {
        for version in ["3.13.7", "4.0.5", "4.3.6"] {
            for channel in [queue(), topic()] {
                let can = can(version, &channel);
                for denial in Capability::ALL.iter().filter_map(|c| can.denial(*c)) {
                    assert!(denial.reason.contains(version), "{denial:?}");
                    assert!(!denial.fix.is_empty(), "{denial:?}");
                }
            }
        }
    }

    #[test]
    fn order_needs_4_0_and_max_bytes_a_queue() {
        assert!(can("4.0.5", &topic()).has(Capability::OrderByKey));
        assert!(!can("3.13.7", &topic()).has(Capability::OrderByKey));
        assert!(can("4.0.5", &queue()).has(Capability::MaxBytes));
        assert!(!can("4.3.6", &topic()).has(Capability::MaxBytes));
    }

    #[test]
    fn before_4_3_a_lease_ends_with_the_queues_consumer_timeout() {
        let mut bound = queue();
        bound.settings = Settings::from_toml("queue = 'legacy'").unwrap();
        let lease = |version: &str, channel: &ChannelSpec| can(version, channel).limits.max_lease;
        assert_eq!(lease("4.3.0", &bound), None);
        assert_eq!(lease("4.2.1", &queue()), Some(CONSUMER_TIMEOUT));
        assert_eq!(lease("4.2.1", &bound), Some(DEFAULT_CONSUMER_TIMEOUT));
        assert!(!can("4.3.0", &bound).has(Capability::MaxBytes));
    }
}
