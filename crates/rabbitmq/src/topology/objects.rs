//! The objects and bindings that a topology needs.

use std::time::Duration;

use lapin::ExchangeKind;
use lapin::types::{FieldTable, ShortString};
use polymq_core::ChannelName;
use polymq_core::broker::{ChannelKind, ChannelSpec, GroupSpec, Topology};

use super::arguments::{self, QueueShape};
use crate::layout::{ChannelLayout, Layout};
use crate::steps;

/// The longest routing key.
const LONGEST_KEY: usize = 255;

/// An exchange or a queue, as the configuration wants it.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    /// The channel that needs it; `None` for what the namespace shares.
    pub(crate) channel: Option<ChannelName>,
    pub(crate) name: ShortString,
    pub(crate) shape: Shape,
    pub(crate) arguments: FieldTable,
    /// Somebody else's: it has to be there, whatever it is like.
    pub(crate) is_bound: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Exchange(ExchangeKind),
    Queue,
}

impl Shape {
    /// The broker's word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Exchange(_) => "exchange",
            Self::Queue => "queue",
        }
    }
}

/// Leads from an exchange to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) channel: Option<ChannelName>,
    pub(crate) exchange: ShortString,
    pub(crate) queue: ShortString,
    pub(crate) routing_key: ShortString,
}

/// What is made together: queues, then the exchanges before them, then the bindings, so that nothing is
/// published to an exchange whose queues are still to come.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) queues: Vec<Object>,
    pub(crate) exchanges: Vec<Object>,
    pub(crate) bindings: Vec<Binding>,
}

impl Stage {
    /// The objects in the order of their creation.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.queues.iter().chain(&self.exchanges)
    }
}

/// Everything, in the order of creation: what the namespace shares comes first, since it catches what
/// finds no queue.
pub(crate) fn stages(topology: &Topology, layout: &Layout) -> [Stage; 2] {
    let (mut shared, mut channels) = (shared(topology, layout), Stage::default());
    for spec in &topology.channels {
        let Some(found) = layout.channel(&spec.name) else { continue };
        for group in &spec.groups {
            add_group(&mut channels, spec, found, group, layout);
        }
        if let (true, Some(catch)) = (spec.ordered, &found.alternate) {
            let next = layout.homeless();
            let next = (spec.kind == ChannelKind::Queue).then_some(&next);
            shared.exchanges.push(exchange(Some(spec), catch, ExchangeKind::Fanout, next));
        }
        let kind = match (spec.kind, spec.ordered) {
            (ChannelKind::Queue, false) => ExchangeKind::Fanout,
            _ => ExchangeKind::Topic,
        };
        let main = exchange(Some(spec), &found.exchange, kind, found.alternate.as_ref());
        channels.exchanges.push(Object { is_bound: found.exchange_is_bound, ..main });
    }
    [shared, channels]
}

fn shared(topology: &Topology, layout: &Layout) -> Stage {
    let (home, homeless) = (layout.home(), layout.homeless());
    let mut stage = Stage::default();
    stage.queues.push(queue(None, &homeless, QueueShape::default().arguments()));
    stage.exchanges.push(exchange(None, &homeless, ExchangeKind::Fanout, None));
    stage.bindings.push(binding(None, &homeless, &homeless, ""));
    stage.exchanges.push(exchange(None, &home, ExchangeKind::Direct, Some(&homeless)));
    for seconds in steps::made_for(longest_wait(topology)) {
        let name = layout.delay(seconds);
        stage.queues.push(queue(None, &name, arguments::delay(seconds, &home)));
        stage.exchanges.push(exchange(None, &name, ExchangeKind::Fanout, None));
        stage.bindings.push(binding(None, &name, &name, ""));
    }
    stage
}

/// The longest wait that a topology's consumers can ask for.
pub(crate) fn longest_wait(topology: &Topology) -> Duration {
    let groups = topology.channels.iter().flat_map(|channel| &channel.groups);
    groups.filter_map(|group| group.max_delay).max().unwrap_or_default()
}

fn add_group(
    stage: &mut Stage,
    spec: &ChannelSpec,
    found: &ChannelLayout,
    group: &GroupSpec,
    layout: &Layout,
) {
    let Some(names) = layout.group(&spec.name, &group.name) else { return };
    let inbox = QueueShape { replicas: spec.replicas, ..QueueShape::default() };
    let main = QueueShape {
        max_bytes: spec.max_bytes.filter(|_| spec.kind == ChannelKind::Queue),
        single_active_consumer: spec.ordered,
        ..inbox
    };
    for (partition, name) in names.queues.iter().enumerate() {
        let main = queue(Some(spec), name, main.arguments());
        stage.queues.push(Object { is_bound: names.is_bound, ..main });
        // Between two things of somebody else's, nothing is ours to add.
        if names.is_bound && found.exchange_is_bound {
            continue;
        }
        let prefix = found.partitions.map_or_else(String::new, |_| format!("{partition}."));
        let keys = routing_keys(found, group, &prefix);
        stage
            .bindings
            .extend(keys.iter().map(|key| binding(Some(spec), &found.exchange, name, key)));
    }
    stage.bindings.push(binding(Some(spec), &layout.home(), &names.inbox, names.inbox.as_str()));
    stage.queues.push(queue(Some(spec), &names.inbox, inbox.arguments()));
}

/// What a group wants of its channel, as keys of bindings. More than it wants does no harm.
fn routing_keys(channel: &ChannelLayout, group: &GroupSpec, prefix: &str) -> Vec<String> {
    match &channel.routing_key {
        Some(key) if channel.exchange_is_bound => return vec![format!("{prefix}{key}")],
        // The pipeline filters: the subject is not in the key.
        Some(_) => return vec![format!("{prefix}#")],
        None => {}
    }
    let keys = group.subjects.iter().map(|pattern| format!("{prefix}{}", pattern.as_str()));
    let keys: Vec<String> = keys.collect();
    match keys.is_empty() || keys.iter().any(|key| key.len() > LONGEST_KEY) {
        true => vec![format!("{prefix}#")],
        false => keys,
    }
}

fn queue(channel: Option<&ChannelSpec>, name: &ShortString, arguments: FieldTable) -> Object {
    Object {
        channel: channel.map(|spec| spec.name.clone()),
        name: name.clone(),
        shape: Shape::Queue,
        arguments,
        is_bound: false,
    }
}

fn exchange(
    channel: Option<&ChannelSpec>,
    name: &ShortString,
    kind: ExchangeKind,
    alternate: Option<&ShortString>,
) -> Object {
    let arguments = arguments::alternate(alternate);
    Object { shape: Shape::Exchange(kind), ..queue(channel, name, arguments) }
}

fn binding(
    channel: Option<&ChannelSpec>,
    exchange: &ShortString,
    queue: &ShortString,
    routing_key: &str,
) -> Binding {
    Binding {
        channel: channel.map(|spec| spec.name.clone()),
        exchange: exchange.clone(),
        queue: queue.clone(),
        routing_key: routing_key.into(),
    }
}
