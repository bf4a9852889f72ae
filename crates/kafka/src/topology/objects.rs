//! The topics and consumer groups that a topology needs.

use std::sync::Arc;

use polymq_core::ChannelName;
use polymq_core::broker::{ChannelKind, ChannelRole, ChannelSpec, StartPosition, Topology};

use super::settings::{self, Setting};
use crate::layout::Layout;
use crate::tiers;

/// A topic, as the configuration wants it.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(super) channel: ChannelName,
    pub(super) name: Arc<str>,
    pub(super) partitions: u32,
    /// Another number of partitions breaks a promise.
    pub(super) is_counted: bool,
    pub(super) replicas: Option<u32>,
    pub(super) settings: Vec<Setting>,
    /// Somebody else's: it has to be there.
    pub(super) is_bound: bool,
}

/// The offsets that a group begins with.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(super) channel: ChannelName,
    pub(super) id: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) inbox: Arc<str>,
    pub(super) start: StartPosition,
}

/// Everything, in the order of creation.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    /// The topics of channels: offsets are offsets of something.
    pub(super) channels: Vec<Topic>,
    pub(super) groups: Vec<Group>,
    /// Last, as an inbox says that its group has begun.
    pub(super) inboxes: Vec<Topic>,
}

impl Objects {
    /// The topics in the order of their creation.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.channels.iter().chain(&self.inboxes)
    }
}

/// The broker's words for the two kinds of objects.
pub(super) const TOPIC: &str = "topic";
pub(super) const GROUP: &str = "consumer group";

/// What a topology needs.
pub(crate) fn objects(topology: &Topology, layout: &Layout) -> Objects {
    let mut objects = Objects::default();
    for spec in &topology.channels {
        let Some(found) = layout.channel(&spec.name) else { continue };
        let is_dead_letter = spec.role == ChannelRole::DeadLetter;
        objects.channels.push(Topic {
            channel: spec.name.clone(),
            name: Arc::clone(&found.topic),
            partitions: found.partitions,
            is_counted: found.ordered || (is_dead_letter && !found.is_bound),
            replicas: spec.replicas,
            settings: match spec.role {
                ChannelRole::DeadLetter => settings::dead_letters(),
                ChannelRole::Application => settings::channel(spec.retention),
            },
            is_bound: found.is_bound,
        });
        for group in &spec.groups {
            let Some(names) = layout.group(&spec.name, &group.name) else { continue };
            objects.inboxes.push(inbox(spec, &names.inbox));
            objects.groups.push(Group {
                channel: spec.name.clone(),
                id: names.id,
                topic: names.topic,
                inbox: names.inbox,
                start: match spec.kind {
                    ChannelKind::Queue => StartPosition::Earliest,
                    ChannelKind::Topic => group.start,
                },
            });
        }
    }
    objects
}

fn inbox(spec: &ChannelSpec, name: &Arc<str>) -> Topic {
    Topic {
        channel: spec.name.clone(),
        name: Arc::clone(name),
        partitions: tiers::COUNT,
        is_counted: true,
        replicas: spec.replicas,
        settings: settings::inbox(),
        is_bound: false,
    }
}
