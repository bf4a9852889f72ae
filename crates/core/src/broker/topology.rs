use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::StartPosition;
use crate::config::Settings;
use crate::model::{ChannelName, GroupName, Namespace, SubjectPattern};
use crate::{Error, ErrorKind, Result};

/// Point-to-point or publish-subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// Competing consumers: each message is handled once.
    Queue,
    /// Every group gets every message.
    Topic,
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Topic => "topic",
        })
    }
}

/// What a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelRole {
    /// Carries the application's messages.
    Application,
    /// Carries what consumers gave up on: a queue whose messages never expire.
    DeadLetter,
}

/// One group of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupSpec {
    /// The name. A queue's only group carries the queue's name.
    pub name: GroupName,
    /// Where a group starts that the broker does not know yet. Queues ignore it.
    pub start: StartPosition,
    /// The longest wait that this configuration's consumers can ask of the retry inbox; `None` when
    /// it has none. Other processes and `deliver_at` may ask for more, so it is a hint and never an
    /// immutable argument of an object.
    pub max_delay: Option<Duration>,
    /// The subjects that the group wants to see; none given: all. An adapter may leave out what no
    /// pattern takes, or hand it out all the same: the pipeline filters exactly. An object that lets
    /// too much through is no difference. Queues have none.
    pub subjects: Vec<SubjectPattern>,
}

impl GroupSpec {
    /// A group that starts at what is published from now on.
    #[must_use]
    pub fn new(name: GroupName) -> Self {
        Self { name, start: StartPosition::Latest, max_delay: None, subjects: Vec::new() }
    }
}

/// The logical shape of a channel.
///
/// What cannot be changed on an existing object must follow from this shape alone, never from groups'
/// hints or consumers' settings, as producers and consumers apply it from different files.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ChannelSpec {
    /// The name.
    pub name: ChannelName,
    /// Queue or topic. Never changed on an existing channel.
    pub kind: ChannelKind,
    /// What it is for.
    pub role: ChannelRole,
    /// Messages of one key keep their order. Never changed on an existing channel.
    pub ordered: bool,
    /// How many partitions an ordered channel has. Never changed on an existing channel.
    pub partitions: u32,
    /// The least time that unhandled messages are kept; `None`: for ever.
    pub retention: Option<Duration>,
    /// A publish that would go above it is rejected as full.
    pub max_bytes: Option<u64>,
    /// On how many nodes it is kept; `None`: the broker's default.
    pub replicas: Option<u32>,
    /// The groups that this configuration knows. Exactly one for a queue.
    pub groups: Vec<GroupSpec>,
    /// The adapter's own table: `[channels.NAME.ADAPTER]`.
    pub settings: Settings,
}

/// How many partitions an ordered channel has unless the configuration says otherwise.
pub const DEFAULT_PARTITIONS: u32 = 12;

impl ChannelSpec {
    /// A queue without limits, with its one group.
    #[must_use]
    pub fn queue(name: ChannelName) -> Self {
        let group = GroupSpec::new(GroupName::from(&name));
        Self {
            name,
            kind: ChannelKind::Queue,
            role: ChannelRole::Application,
            ordered: false,
            partitions: DEFAULT_PARTITIONS,
            retention: None,
            max_bytes: None,
            replicas: None,
            groups: vec![group],
            settings: Settings::default(),
        }
    }

    /// A topic without limits, with these groups.
    #[must_use]
    pub fn topic(name: ChannelName, groups: impl IntoIterator<Item = GroupName>) -> Self {
        let groups = groups.into_iter().map(GroupSpec::new).collect();
        Self { kind: ChannelKind::Topic, groups, ..Self::queue(name) }
    }

    /// A dead-letter channel.
    #[must_use]
    pub fn dead_letter(name: ChannelName) -> Self {
        Self { role: ChannelRole::DeadLetter, ..Self::queue(name) }
    }
}

/// Everything that a configuration implies on one broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Separates environments on one broker.
    pub namespace: Namespace,
    /// The channels, dead-letter channels included.
    pub channels: Vec<ChannelSpec>,
}

impl Topology {
    /// The channel of this name.
    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&ChannelSpec> {
        self.channels.iter().find(|c| c.name == *name)
    }

    /// Refuses what would be two channels' at once. `objects` names what only one channel may have, in
    /// words: queue `orders`. For adapters, whose tables bind channels to what exists already.
    ///
    /// # Errors
    /// `Config`, naming both channels and the object, with this help.
    pub fn refuse_shared(
        &self,
        objects: impl Fn(&ChannelSpec) -> Vec<String>,
        help: &'static str,
    ) -> Result<()> {
        let mut owners = HashMap::new();
        for spec in &self.channels {
            for object in objects(spec) {
                let Some(other) = owners.insert(object.clone(), &spec.name) else { continue };
                let problem = format!("channels `{other}` and `{}` share the {object}", spec.name);
                return Err(Error::new(ErrorKind::Config, problem)
                    .with_channel(&spec.name)
                    .with_help(help));
            }
        }
        Ok(())
    }
}

/// One way in which an existing object is not as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs, in the configuration's words where there are some.
    pub field: String,
    /// What the configuration asks for.
    pub wanted: String,
    /// What the broker has.
    pub found: String,
}

/// How an object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectState {
    /// It is there, as configured.
    Present,
    /// It is not there: `apply` creates it.
    Missing,
    /// It is there but not as configured: refused. `kind`, `order_by` and `partitions` of an
    /// existing channel are never changed; moving to a new channel is a migration.
    Differs(Vec<Difference>),
}

/// One object on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedObject {
    /// The channel that needs it; `None` for what the whole namespace shares.
    pub channel: Option<ChannelName>,
    /// The broker's word for what it is: `queue`, `exchange`, `stream`, `consumer group`.
    pub kind: &'static str,
    /// Its physical name.
    pub name: String,
    /// How it stands.
    pub state: ObjectState,
}

/// The objects that a topology implies, and how each stands on the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are created.
    pub objects: Vec<PlannedObject>,
}

impl Plan {
    /// The objects that are not there.
    pub fn missing(&self) -> impl Iterator<Item = &PlannedObject> {
        self.objects.iter().filter(|o| o.state == ObjectState::Missing)
    }

    /// The objects that are there but not as configured, with the differences.
    pub fn differing(&self) -> impl Iterator<Item = (&PlannedObject, &[Difference])> {
        self.objects.iter().filter_map(|o| match &o.state {
            ObjectState::Differs(differences) => Some((o, differences.as_slice())),
            _ => None,
        })
    }
}
