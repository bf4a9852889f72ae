//! Which objects stand for which channel: the physical names, in one place.
//!
//! | for | exchange | queue |
//! |---|---|---|
//! | queue `orders` | `NS.orders` | `NS.orders` |
//! | topic `orders`, group `mailer` | `NS.orders` | `NS.orders.mailer` |
//! | partition 3 of an ordered one | | `NS.orders.mailer._3`, `NS.orders._3` |
//! | what finds no partition of 12 | `NS.orders._of.12` | |
//! | retry inbox | | `NS.orders.mailer._retry`, `NS.orders._retry` |
//! | waiting 10 s, shared by the namespace | `NS._delay.10` | `NS._delay.10` |
//! | coming home from a wait | `NS._home` | |
//! | what found no queue | `NS._homeless` | `NS._homeless` |
//!
//! Names of namespaces, channels and groups hold neither `.` nor `_`, so no two of these meet. The
//! longest has 155 bytes; RabbitMQ takes 255.
//!
//! A publish goes to the channel's exchange: of type `fanout` for a queue, `topic` for a topic and for
//! everything ordered. The routing key is the message's subject; on an ordered channel the partition
//! comes first: `3.order.placed`. What finds no queue goes on to the exchange's alternate. That of an
//! ordered channel carries the number of partitions in its name: RabbitMQ refuses to declare an exchange
//! with another alternate, and so nobody can spread keys over another number of queues.

use std::collections::{BTreeMap, HashMap};

use lapin::types::ShortString;
use polymq_core::broker::{ChannelKind, ChannelSpec, Topology};
use polymq_core::{ChannelName, Error, ErrorKind, GroupName, Namespace, Result};

use crate::config::ChannelTable;

/// The objects of a topology.
#[derive(Debug)]
pub(crate) struct Layout {
    namespace: Namespace,
    channels: BTreeMap<ChannelName, ChannelLayout>,
}

/// The objects of one channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelLayout {
    pub(crate) kind: ChannelKind,
    /// Where to publish.
    pub(crate) exchange: ShortString,
    /// The exchange is somebody else's: not created, not changed, and without our alternate.
    pub(crate) exchange_is_bound: bool,
    /// Where the exchange sends what finds no queue; nowhere from a topic, which needs no groups.
    pub(crate) alternate: Option<ShortString>,
    /// What every message is routed by, instead of its subject.
    pub(crate) routing_key: Option<ShortString>,
    /// How many partitions; `None` for a channel without order.
    pub(crate) partitions: Option<u32>,
    /// A publish beyond a limit is refused by the broker.
    pub(crate) bounded: bool,
    /// Queues that are somebody else's, by group.
    bound_queues: HashMap<GroupName, ShortString>,
}

/// The queues of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupLayout {
    /// What the group consumes: one queue, or one per partition.
    pub(crate) queues: Vec<ShortString>,
    /// The queue is somebody else's: not created, not changed.
    pub(crate) is_bound: bool,
    /// The group's retry inbox.
    pub(crate) inbox: ShortString,
}

impl Layout {
    /// Names everything.
    ///
    /// # Errors
    /// `Config` when two channels are bound to one object, or a binding makes no sense.
    pub(crate) fn new(topology: &Topology) -> Result<Self> {
        let mut layout = Self { namespace: topology.namespace.clone(), channels: BTreeMap::new() };
        for spec in &topology.channels {
            let channel = ChannelLayout::new(&topology.namespace, spec)?;
            layout.channels.insert(spec.name.clone(), channel);
        }
        topology.refuse_shared(
            |spec| layout.objects(spec),
            "bind each channel to a queue, or to an exchange and routing key, of its own",
        )?;
        Ok(layout)
    }

    /// What only one channel may have: where its messages go, and where they lie.
    fn objects(&self, spec: &ChannelSpec) -> Vec<String> {
        let Some(channel) = self.channel(&spec.name) else { return Vec::new() };
        let mut objects = vec![match &channel.routing_key {
            Some(key) => format!("exchange `{}` with routing key `{key}`", channel.exchange),
            None => format!("exchange `{}`", channel.exchange),
        }];
        let known = spec.groups.iter().map(|group| &group.name);
        for group in known.filter_map(|group| self.group(&spec.name, group)) {
            objects.extend(group.queues.iter().map(|queue| format!("queue `{queue}`")));
        }
        objects
    }

    /// The objects of a channel that the topology knows.
    pub(crate) fn channel(&self, name: &ChannelName) -> Option<&ChannelLayout> {
        self.channels.get(name)
    }

    /// The queues of a group, whether or not this topology knows the group; `None` for a channel that
    /// it doesn't know.
    pub(crate) fn group(&self, channel: &ChannelName, group: &GroupName) -> Option<GroupLayout> {
        let layout = self.channels.get(channel)?;
        let stem = match layout.kind {
            ChannelKind::Queue => format!("{}.{channel}", self.namespace),
            ChannelKind::Topic => format!("{}.{channel}.{group}", self.namespace),
        };
        let inbox = format!("{stem}._retry").into();
        let bound = layout.bound_queues.get(group);
        let queues = match (bound, layout.partitions) {
            (Some(queue), _) => vec![queue.clone()],
            (None, None) => vec![stem.into()],
            (None, Some(count)) => (0..count).map(|n| format!("{stem}._{n}").into()).collect(),
        };
        Some(GroupLayout { queues, is_bound: bound.is_some(), inbox })
    }

    /// The exchange and the queue of a wait of this many seconds: they have one name.
    pub(crate) fn delay(&self, seconds: u64) -> ShortString {
        format!("{}._delay.{seconds}", self.namespace).into()
    }

    /// The exchange that leads waiting messages home.
    pub(crate) fn home(&self) -> ShortString {
        format!("{}._home", self.namespace).into()
    }

    /// The exchange and the queue of what found no queue: they have one name.
    pub(crate) fn homeless(&self) -> ShortString {
        homeless(&self.namespace)
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl ChannelLayout {
    fn new(namespace: &Namespace, spec: &ChannelSpec) -> Result<Self> {
        let table = ChannelTable::read(&spec.settings).map_err(|mut errors| errors.remove(0))?;
        let is_queue = spec.kind == ChannelKind::Queue;
        let problem = match (is_queue, &table.queue, table.groups.is_empty()) {
            (true, _, false) => Some("`groups` names the queues of a topic's groups"),
            (false, Some(_), _) => Some("`queue` is for a channel of kind queue"),
            (_, None, true) => None,
            _ if spec.ordered => Some("an ordered channel has a queue for each partition"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::new(ErrorKind::Config, problem)
                .with_channel(&spec.name)
                .with_help("a queue is bound by `queue = …`, a topic's groups by `groups.GROUP = …`, an ordered channel by neither"));
        }
        let mut bound_queues = HashMap::new();
        for (group, queue) in table.groups {
            bound_queues.insert(GroupName::new(group)?, queue.into());
        }
        bound_queues.extend(table.queue.map(|queue| (GroupName::from(&spec.name), queue.into())));
        let exchange_is_bound = table.exchange.is_some();
        Ok(Self {
            kind: spec.kind,
            exchange: table
                .exchange
                .map_or_else(|| format!("{namespace}.{}", spec.name).into(), Into::into),
            exchange_is_bound,
            alternate: alternate(namespace, spec).filter(|_| !exchange_is_bound),
            routing_key: table.routing_key.map(Into::into),
            partitions: spec.ordered.then_some(spec.partitions),
            bounded: spec.max_bytes.is_some(),
            bound_queues,
        })
    }

    /// The partition of a key. A message without a key goes to partition 0.
    pub(crate) fn partition(&self, key: Option<&[u8]>) -> Option<u32> {
        let count = self.partitions?;
        Some(key.map_or(0, |key| (hash(key) % u64::from(count)) as u32))
    }
}

/// FNV-1a of 64 bits, finished as MurmurHash3 does, since FNV alone leaves patterns of keys visible.
/// Every producer of an ordered channel has to agree on it.
fn hash(key: &[u8]) -> u64 {
    let mut hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

fn homeless(namespace: &Namespace) -> ShortString {
    format!("{namespace}._homeless").into()
}

fn alternate(namespace: &Namespace, spec: &ChannelSpec) -> Option<ShortString> {
    match (spec.ordered, spec.kind) {
        (true, _) => Some(format!("{namespace}.{}._of.{}", spec.name, spec.partitions).into()),
        (false, ChannelKind::Queue) => Some(homeless(namespace)),
        (false, ChannelKind::Topic) => None,
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

    fn ordered(name: &str) -> ChannelSpec {
        let mut spec = ChannelSpec::queue(channel(name));
        spec.ordered = true;
        spec
    }

    #[test]
    fn names_that_nearly_collide_stay_apart() {
        let topic = |name| ChannelSpec::topic(channel(name), [group("b"), group("retry")]);
        let channels = vec![
            ordered("a"),
            topic("b"),
            ChannelSpec::queue(channel("home")),
            ChannelSpec::queue(channel("homeless")),
            ChannelSpec::queue(channel("delay")),
            ChannelSpec::queue(channel("retry")),
        ];
        let layout = layout(channels.clone()).unwrap();
        let mut queues = vec![layout.homeless(), layout.delay(1), layout.delay(10)];
        let mut exchanges = vec![layout.homeless(), layout.home(), layout.delay(1)];
        for spec in &channels {
            exchanges.push(layout.channel(&spec.name).unwrap().exchange.clone());
            for known in &spec.groups {
                let names = layout.group(&spec.name, &known.name).unwrap();
                queues.extend(names.queues);
                queues.push(names.inbox);
            }
        }
        for names in [queues, exchanges] {
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
        let names = layout.group(&channel(&long), &group(&long)).unwrap();
        assert!(names.inbox.as_str().len() <= 155);
    }

    #[test]
    fn two_channels_never_share_an_object() {
        let clash = layout(vec![bound("a", "queue = 'prod.b'"), ChannelSpec::queue(channel("b"))]);
        let error = clash.unwrap_err().to_string();
        assert!(error.contains("share the queue `prod.b`"), "{error}");
        let split = layout(vec![
            bound("a", "exchange = 'legacy'\nrouting_key = 'a'"),
            bound("b", "exchange = 'legacy'\nrouting_key = 'b'"),
        ]);
        split.unwrap();
    }

    #[test]
    fn a_key_keeps_its_partition_and_keys_spread() {
        let layout = layout(vec![ordered("a")]).unwrap();
        let found = layout.channel(&channel("a")).unwrap();
        let mut counts = [0; 12];
        for key in 0..12_000 {
            let partition = found.partition(Some(format!("customer-{key}").as_bytes())).unwrap();
            counts[partition as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        // A contract with every other producer of the channel, of later versions too.
        assert_eq!(found.partition(Some(b"customer-7")), Some(6));
        assert_eq!(found.partition(None), Some(0));
    }
}
