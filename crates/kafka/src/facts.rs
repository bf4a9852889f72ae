//! What becomes of a channel on Kafka, as data, without a connection.

use std::borrow::Cow;

use polymq_core::Result;
use polymq_core::broker::{ChannelFacts, ChannelRole, ChannelSpec, ObjectFact, Topology};

use crate::capabilities::capabilities;
use crate::config::BrokerTable;
use crate::layout::Layout;

/// The facts are the same for all of them.
pub(crate) const VERSIONS: &[&str] = &["4.2"];

/// What a confirmed publish has survived.
pub(crate) const DURABILITY: &str =
    "in the logs of all replicas that are in sync, `min.insync.replicas` at least";

/// # Errors
/// `Config` when the channel's table cannot be read, or names clash.
pub(crate) fn describe(
    version: &str,
    table: &BrokerTable,
    topology: &Topology,
    channel: &ChannelSpec,
) -> Result<ChannelFacts> {
    let layout = Layout::new(topology)?;
    let product = format!("Kafka {version}");
    let mut facts = ChannelFacts::new(product.clone(), capabilities(&product, table, channel));
    facts.durability = Cow::Borrowed(DURABILITY);
    facts.objects = objects(&layout, channel);
    facts.order = Cow::Borrowed(
        "a partition by the hash of the key, as Java's clients choose it; each partition has one consumer of \
         a group at a time",
    );
    facts.retry_wait = Cow::Borrowed(
        "in the topic of the group's retry inbox, on the partition of its tier, until the moment that is its \
         timestamp",
    );
    facts.duplicates = vec![
        Cow::Owned(format!(
            "what was acked and not yet committed: at most {} messages for each consumer (`max_uncommitted`), \
             {} ms of work (`commit_interval`)",
            table.max_uncommitted,
            table.commit_interval.0.as_millis()
        )),
        Cow::Borrowed("at a rebalance, what handlers had not finished after `revoke_timeout`"),
    ];
    Ok(facts)
}

fn objects(layout: &Layout, channel: &ChannelSpec) -> Vec<ObjectFact> {
    let Some(names) = layout.channel(&channel.name) else { return Vec::new() };
    let purpose = match (names.is_bound, names.role) {
        (true, _) => Cow::Borrowed("somebody else's, bound by name"),
        (false, ChannelRole::DeadLetter) => {
            Cow::Borrowed("dead letters, compacted by the id of each")
        }
        (false, ChannelRole::Application) => {
            Cow::Owned(format!("publish here, on {} partitions", names.partitions))
        }
    };
    let mut objects = vec![ObjectFact::new("topic", names.topic.to_string(), purpose)];
    let groups = channel.groups.iter().filter_map(|group| layout.group(&channel.name, &group.name));
    for group in groups {
        objects.push(ObjectFact::new(
            "consumer group",
            group.id.to_string(),
            "how far the group has handled its topics",
        ));
        objects.push(ObjectFact::new(
            "topic",
            group.inbox.to_string(),
            "retries, on a partition for each tier of waits",
        ));
    }
    objects
}
