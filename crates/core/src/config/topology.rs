use std::time::Duration;

use super::{ChannelConfig, Config, ConsumerConfig};
use crate::broker::{ChannelKind, ChannelSpec, GroupSpec, Topology};
use crate::model::GroupName;

impl Config {
    /// What the configuration implies on one broker: its channels, implied dead-letter channels
    /// included, their groups, and the tables of the adapter that serves it.
    ///
    /// A topic has the groups that this configuration's consumers name: other services' groups
    /// are unknown to it. A broker that isn't there has no channels.
    #[must_use]
    pub fn topology_of(&self, broker: &str, adapter: &str) -> Topology {
        let channels = self.channels.values().filter(|c| c.broker == broker);
        Topology {
            namespace: self.namespace.clone(),
            channels: channels.map(|c| self.channel_spec(c, adapter)).collect(),
        }
    }

    fn channel_spec(&self, channel: &ChannelConfig, adapter: &str) -> ChannelSpec {
        let mut groups: Vec<GroupSpec> = Vec::new();
        if channel.kind == ChannelKind::Queue {
            groups.push(GroupSpec::new(GroupName::from(&channel.name)));
        }
        for consumer in self.consumers.values() {
            if consumer.channel != channel.name {
                continue;
            }
            let at = groups.iter().position(|g| g.name == consumer.group);
            let at = at.unwrap_or_else(|| {
                groups.push(GroupSpec::new(consumer.group.clone()));
                groups.len() - 1
            });
            join(&mut groups[at], consumer, channel.ordered);
        }
        ChannelSpec {
            name: channel.name.clone(),
            kind: channel.kind,
            role: channel.role,
            ordered: channel.ordered,
            partitions: channel.partitions,
            retention: channel.retention,
            max_bytes: channel.max_bytes,
            replicas: channel.replicas,
            groups,
            settings: channel.settings.get(adapter).cloned().unwrap_or_default(),
        }
    }
}

/// Adds what a consumer asks of its group. On an ordered channel its delays pass in the process.
fn join(group: &mut GroupSpec, consumer: &ConsumerConfig, ordered: bool) {
    group.start = consumer.start;
    group.subjects.clone_from(&consumer.subjects);
    let longest = if ordered { Some(Duration::ZERO) } else { Some(consumer.retry.longest_delay()) };
    group.max_delay = group.max_delay.max(longest);
}
