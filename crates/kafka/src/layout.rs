//! Which topics and consumer groups stand for which channel: the physical names, in one place.
//!
//! | for | topic | consumer group |
//! |---|---|---|
//! | queue `orders` | `NS.orders` | `NS.orders` |
//! | topic `orders`, group `mailer` | `NS.orders` | `NS.orders.mailer` |
//! | their retry inboxes | `NS.orders._retry`, `NS.orders.mailer._retry` | the same groups |
//! | dead-letter channel `orders-dead` | `NS.orders-dead` | `NS.orders-dead` |
//!
//! Names of namespaces, channels and groups hold neither `.` nor `_`, so no two of these meet. The
//! longest has 153 bytes; Kafka takes 249.
//!
//! A topic has the channel's number of partitions, ordered or not: it is what consumers share. A
//! dead-letter channel has one, an inbox one per [tier](crate::tiers).

use std::collections::HashMap;
use std::sync::Arc;

use polymq_core::broker::{ChannelKind, ChannelRole, ChannelSpec, Destination, Topology};
use polymq_core::{ChannelName, Error, ErrorKind, GroupName, Namespace, Result};

use crate::config::ChannelTable;

/// The objects of a topology.
#[derive(Debug)]
pub(crate) struct Layout {
    namespace: Namespace,
    channels: HashMap<ChannelName, ChannelLayout>,
}

/// The topic of one channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelLayout {
    pub(crate) kind: ChannelKind,
    pub(crate) role: ChannelRole,
    pub(crate) topic: Arc<str>,
    /// The topic is somebody else's: not created, not changed.
    pub(crate) is_bound: bool,
    pub(crate) partitions: u32,
    /// The number of partitions is part of what the channel promises.
    pub(crate) ordered: bool,
    /// Consumer groups that have been named, by group.
    bound_groups: HashMap<GroupName, Arc<str>>,
}

/// What one group consumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupLayout {
    /// The consumer group.
    pub(crate) id: Arc<str>,
    /// The channel's topic.
    pub(crate) topic: Arc<str>,
    /// The topic of the group's retry inbox.
    pub(crate) inbox: Arc<str>,
    /// A dead-letter topic: a record without a value says that another one was removed.
    pub(crate) is_dead_letter: bool,
}

impl Layout {
    /// Names everything.
    ///
    /// # Errors
    /// `Config` when two channels are bound to one topic, two groups to one consumer group, or a binding
    /// makes no sense.
    pub(crate) fn new(topology: &Topology) -> Result<Self> {
        let mut layout = Self { namespace: topology.namespace.clone(), channels: HashMap::new() };
        for spec in &topology.channels {
            let channel = ChannelLayout::new(&topology.namespace, spec)?;
            layout.channels.insert(spec.name.clone(), channel);
        }
        topology.refuse_shared(
            |spec| layout.objects(spec),
            "bind each channel to a topic of its own, and each group to a consumer group of its own: members of one group share the messages of all its topics",
        )?;
        Ok(layout)
    }

    /// What only one channel may have.
    fn objects(&self, spec: &ChannelSpec) -> Vec<String> {
        let Some(channel) = self.channel(&spec.name) else { return Vec::new() };
        let mut objects = vec![format!("topic `{}`", channel.topic)];
        let known = spec.groups.iter().filter_map(|group| self.group(&spec.name, &group.name));
        for group in known {
            objects.push(format!("topic `{}`", group.inbox));
            objects.push(format!("consumer group `{}`", group.id));
        }
        objects
    }

    /// The topic of a channel that the topology knows.
    pub(crate) fn channel(&self, name: &ChannelName) -> Option<&ChannelLayout> {
        self.channels.get(name)
    }

    /// What a group consumes, whether or not this topology knows the group; `None` for a channel that it
    /// doesn't know.
    pub(crate) fn group(&self, channel: &ChannelName, group: &GroupName) -> Option<GroupLayout> {
        let layout = self.channels.get(channel)?;
        let stem = match layout.kind {
            ChannelKind::Queue => format!("{}.{channel}", self.namespace),
            ChannelKind::Topic => format!("{}.{channel}.{group}", self.namespace),
        };
        Some(GroupLayout {
            inbox: format!("{stem}._retry").into(),
            id: layout.bound_groups.get(group).cloned().unwrap_or_else(|| stem.into()),
            topic: Arc::clone(&layout.topic),
            is_dead_letter: layout.role == ChannelRole::DeadLetter,
        })
    }

    /// Where a send goes; `None` for what the topology doesn't know.
    pub(crate) fn topic(&self, destination: &Destination) -> Option<Arc<str>> {
        match destination {
            Destination::Channel(channel) | Destination::DeadLetter(channel) => {
                self.channel(channel).map(|layout| Arc::clone(&layout.topic))
            }
            Destination::RetryInbox { channel, group } => {
                self.group(channel, group).map(|layout| layout.inbox)
            }
            _ => None,
        }
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl ChannelLayout {
    fn new(namespace: &Namespace, spec: &ChannelSpec) -> Result<Self> {
        let table = ChannelTable::read(&spec.settings).map_err(|mut errors| errors.remove(0))?;
        let problem = match spec.kind {
            ChannelKind::Queue if !table.groups.is_empty() => {
                Some("`groups` names the consumer groups of a topic's groups")
            }
            ChannelKind::Topic if table.group.is_some() => {
                Some("`group` is for a channel of kind queue")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::new(ErrorKind::Config, problem)
                .with_channel(&spec.name)
                .with_help("a queue's consumer group is named by `group = …`, those of a topic's groups by `groups.GROUP = …`"));
        }
        let mut bound_groups = HashMap::new();
        for (group, id) in table.groups {
            bound_groups.insert(GroupName::new(group)?, id.into());
        }
        bound_groups.extend(table.group.map(|id| (GroupName::from(&spec.name), id.into())));
        Ok(Self {
            kind: spec.kind,
            role: spec.role,
            is_bound: table.topic.is_some(),
            topic: table.topic.unwrap_or_else(|| format!("{namespace}.{}", spec.name)).into(),
            partitions: match spec.role {
                ChannelRole::DeadLetter => 1,
                ChannelRole::Application => spec.partitions,
            },
            ordered: spec.ordered,
            bound_groups,
        })
    }
}

#[cfg(test)]
mod tests {
    use polymq_core::config::Settings;

    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    fn group(name: &str) -> GroupName {
        GroupName::new(name).unwrap()
    }

    fn layout(channels: Vec<ChannelSpec>) -> Result<Layout> {
        Layout::new(&Topology { namespace: Namespace::new("prod").unwrap(), channels })
    }

    fn bound(name: &str, table: &str) -> ChannelSpec {
        let mut spec = ChannelSpec::queue(channel(name));
        spec.settings = Settings::from_toml(table).unwrap();
        spec
    }

    #[test]
    fn names_that_nearly_collide_stay_apart() {
        let topic = |name| ChannelSpec::topic(channel(name), [group("b"), group("retry")]);
        let channels =
            vec![topic("a"), topic("b"), ChannelSpec::queue(channel("retry")), bound("c", "")];
        let layout = layout(channels.clone()).unwrap();
        let (mut topics, mut ids) = (Vec::new(), Vec::new());
        for spec in &channels {
            topics.push(Arc::clone(&layout.channel(&spec.name).unwrap().topic));
            for known in &spec.groups {
                let names = layout.group(&spec.name, &known.name).unwrap();
                topics.push(names.inbox);
                ids.push(names.id);
            }
        }
        for names in [topics, ids] {
            let different: std::collections::HashSet<_> = names.iter().collect();
            assert_eq!(different.len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn the_longest_names_fit() {
        let long = "n".repeat(48);
        let topology = Topology {
            namespace: Namespace::new(&long).unwrap(),
            channels: vec![ChannelSpec::topic(channel(&long), [group(&long)])],
        };
        let layout = Layout::new(&topology).unwrap();
        assert_eq!(layout.group(&channel(&long), &group(&long)).unwrap().inbox.len(), 153);
    }

    #[test]
    fn two_channels_never_share_a_topic_or_a_consumer_group() {
        let queue = ChannelSpec::queue(channel("b"));
        let topics = layout(vec![bound("a", "topic = 'prod.b'"), queue.clone()]);
        let error = topics.unwrap_err().to_string();
        assert!(error.contains("share the topic `prod.b`"), "{error}");
        let groups = layout(vec![bound("a", "group = 'prod.b'"), queue]);
        let error = groups.unwrap_err().to_string();
        assert!(error.contains("share the consumer group `prod.b`"), "{error}");
    }

    #[test]
    fn a_binding_says_what_kind_of_channel_it_is_for() {
        let error = layout(vec![bound("a", "groups.x = 'y'")]).unwrap_err().to_string();
        assert!(error.contains("`groups` names"), "{error}");
    }
}
