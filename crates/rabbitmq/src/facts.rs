//! What becomes of a channel on RabbitMQ, as data, without a connection.

use std::borrow::Cow;

use polymq_core::Result;
use polymq_core::broker::{ChannelFacts, ChannelSpec, ObjectFact, Topology};

use crate::capabilities::capabilities;
use crate::config::BrokerTable;
use crate::layout::Layout;
use crate::topology::{self, Object};
use crate::version::Version;

/// The versions between which the facts differ, newest first.
pub(crate) const VERSIONS: &[&str] = &["4.3", "4.0"];

/// What a confirmed publish has survived.
pub(crate) const DURABILITY: &str = "on the disks of a majority of the queue's replicas";

/// # Errors
/// `Config` when the channel's table cannot be read, or names clash.
pub(crate) fn describe(
    version: &Version,
    table: &BrokerTable,
    topology: &Topology,
    channel: &ChannelSpec,
) -> Result<ChannelFacts> {
    let layout = Layout::new(topology)?;
    let mut facts = ChannelFacts::new(version.to_string(), capabilities(version, table, channel));
    facts.durability = Cow::Borrowed(DURABILITY);
    facts.objects = topology::stages(topology, &layout)
        .iter()
        .flat_map(topology::Stage::objects)
        .filter(|object| object.channel.as_ref().is_none_or(|name| *name == channel.name))
        .map(|object| fact(object, &layout))
        .collect();
    facts.order = Cow::Borrowed(
        "a partition queue by the hash of the key, with one active consumer; the consumers of a group \
         claim equal shares of the partitions",
    );
    facts.retry_wait = Cow::Borrowed(
        "in a delay queue of the namespace, which dead-letters to the group's retry inbox",
    );
    facts.duplicates = vec![
        Cow::Borrowed(
            "RabbitMQ has no duplicate window: what was unconfirmed when a connection broke is sent again",
        ),
        Cow::Borrowed("acks that were written and had not reached the queue"),
    ];
    Ok(facts)
}

fn fact(object: &Object, layout: &Layout) -> ObjectFact {
    let name = object.name.as_str();
    let is_exchange = object.shape.word() == "exchange";
    let purpose = if object.is_bound {
        Cow::Borrowed("somebody else's, bound by name")
    } else if name == layout.homeless().as_str() {
        Cow::Borrowed("what found no queue; to be empty")
    } else if name == layout.home().as_str() {
        Cow::Borrowed("leads what has waited to its retry inbox")
    } else if let Some((_, seconds)) = name.rsplit_once("._delay.") {
        Cow::Owned(format!("waits of {seconds} s"))
    } else if name.ends_with("._retry") {
        Cow::Borrowed("retries")
    } else if let Some((_, partitions)) = name.rsplit_once("._of.") {
        Cow::Owned(format!("says that the channel has {partitions} partitions"))
    } else if let Some((_, partition)) = name.rsplit_once("._") {
        Cow::Owned(format!("what has not been handled of partition {partition}"))
    } else if is_exchange {
        Cow::Borrowed("publish here")
    } else {
        Cow::Borrowed("what has not been handled")
    };
    ObjectFact::new(object.shape.word(), name, purpose)
}
