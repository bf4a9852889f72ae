use std::sync::{Arc, PoisonError};

use super::channel::Channel;
use super::connection::Connection;
use super::server::lock;
use crate::broker::{
    Capability, ChannelKind, ChannelRole, ChannelSpec, Difference, GroupSpec, ObjectState, Plan,
    PlannedObject, StartPosition,
};
use crate::model::Namespace;
use crate::{Error, ErrorKind, Result};

/// What `apply` creates for a planned object.
enum Wanted<'a> {
    Channel(&'a ChannelSpec),
    /// A group comes with its retry inbox.
    Group(&'a ChannelSpec, &'a GroupSpec),
}

impl Connection {
    pub(super) fn plan(&self) -> Plan {
        let objects = self.objects().map(|(_, object)| object).collect();
        Plan { objects }
    }

    /// Creates the objects of `plan` that are missing.
    pub(super) fn apply(&self, plan: &Plan) -> Result<()> {
        for spec in &self.topology.channels {
            for capability in needs(spec) {
                self.require(capability)
                    .map_err(|e| e.with_operation("apply").with_channel(&spec.name))?;
            }
        }
        let planned = |object: &PlannedObject| plan.objects.iter().any(|p| p.name == object.name);
        let current: Vec<_> = self.objects().filter(|(_, object)| planned(object)).collect();
        if let Some(mismatch) = current.iter().find_map(|(_, object)| mismatch(object)) {
            return Err(mismatch);
        }
        for (wanted, object) in current {
            if object.state == ObjectState::Missing {
                match wanted {
                    Wanted::Channel(spec) => self.create_channel(spec)?,
                    Wanted::Group(spec, group) => self.create_group(spec, group)?,
                }
            }
        }
        Ok(())
    }

    /// The channel and its groups become visible together: a message published right after must
    /// find those that it is for.
    fn create_channel(&self, spec: &ChannelSpec) -> Result<()> {
        let channels = &self.space.channels;
        let mut channels = channels.write().unwrap_or_else(PoisonError::into_inner);
        if channels.contains_key(&spec.name) {
            return Ok(());
        }
        let budget = Arc::clone(&self.server.0.budget);
        let channel = Channel::new(self.server.next_channel(), spec, budget)
            .map_err(|e| e.with_operation("apply").with_channel(&spec.name))?;
        channels.insert(spec.name.clone(), Arc::new(channel));
        Ok(())
    }

    fn create_group(&self, spec: &ChannelSpec, group: &GroupSpec) -> Result<()> {
        let Some(channel) = self.space.channel(&spec.name) else {
            return Ok(());
        };
        let mut state = lock(&channel.state);
        if state.group(&group.name).is_some() {
            return Ok(());
        }
        let added = state.add_group(group, channel.ordered);
        added.map_err(|e| e.with_operation("apply").with_channel(&spec.name))
    }

    /// What the topology implies, in the order of creation, and how it stands.
    fn objects(&self) -> impl Iterator<Item = (Wanted<'_>, PlannedObject)> {
        self.topology.channels.iter().flat_map(|spec| {
            let found = self.space.channel(&spec.name);
            names(&self.topology.namespace, spec).map(move |named| {
                let (wanted, state) = match named.group {
                    None => (Wanted::Channel(spec), channel_state(spec, found.as_deref())),
                    Some(group) => {
                        (Wanted::Group(spec, group), group_state(group, found.as_deref()))
                    }
                };
                let channel = Some(spec.name.clone());
                (wanted, PlannedObject { channel, kind: named.kind, name: named.name, state })
            })
        })
    }
}

/// An object of a channel, or of one of its groups.
pub(super) struct Named<'a> {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) group: Option<&'a GroupSpec>,
}

/// The objects that stand for a channel, in the order of creation.
pub(super) fn names<'a>(
    namespace: &Namespace,
    spec: &'a ChannelSpec,
) -> impl Iterator<Item = Named<'a>> + use<'a> {
    let channel = format!("{namespace}.{}", spec.name);
    let mut names = vec![Named { kind: channel_kind(spec), name: channel.clone(), group: None }];
    for group in &spec.groups {
        let name = format!("{channel}.{}", group.name);
        let inbox = format!("{name}.retry");
        if spec.kind == ChannelKind::Topic {
            names.push(Named { kind: "group", name, group: Some(group) });
        }
        names.push(Named { kind: "retry inbox", name: inbox, group: Some(group) });
    }
    names.into_iter()
}

fn channel_kind(spec: &ChannelSpec) -> &'static str {
    match (spec.role, spec.kind) {
        (ChannelRole::DeadLetter, _) => "dead-letter channel",
        (ChannelRole::Application, ChannelKind::Queue) => "queue",
        (ChannelRole::Application, ChannelKind::Topic) => "topic",
    }
}

fn group_state(group: &GroupSpec, found: Option<&Channel>) -> ObjectState {
    match found.is_some_and(|channel| lock(&channel.state).group(&group.name).is_some()) {
        true => ObjectState::Present,
        false => ObjectState::Missing,
    }
}

fn channel_state(spec: &ChannelSpec, found: Option<&Channel>) -> ObjectState {
    let Some(found) = found else {
        return ObjectState::Missing;
    };
    let order = |ordered| if ordered { "key" } else { "none" };
    let mut differences = Vec::new();
    let mut compare = |field: &str, wanted: String, found: String| {
        if wanted != found {
            differences.push(Difference { field: field.to_owned(), wanted, found });
        }
    };
    compare("kind", spec.kind.to_string(), found.kind.to_string());
    compare("order_by", order(spec.ordered).to_owned(), order(found.ordered).to_owned());
    if spec.ordered && found.ordered {
        compare("partitions", spec.partitions.to_string(), found.partitions.to_string());
    }
    match differences.is_empty() {
        true => ObjectState::Present,
        false => ObjectState::Differs(differences),
    }
}

fn mismatch(object: &PlannedObject) -> Option<Error> {
    let ObjectState::Differs(differences) = &object.state else {
        return None;
    };
    let list: Vec<String> = differences
        .iter()
        .map(|d| format!("{} is {}, not {}", d.field, d.found, d.wanted))
        .collect();
    let text = format!("the {} `{}` differs: {}", object.kind, object.name, list.join("; "));
    let error = Error::new(ErrorKind::TopologyMismatch, text)
        .with_operation("apply")
        .with_help("change the configuration back, or move to a new channel: a migration");
    Some(match &object.channel {
        Some(channel) => error.with_channel(channel),
        None => error,
    })
}

/// What a channel of this shape needs.
fn needs(spec: &ChannelSpec) -> impl Iterator<Item = Capability> {
    let topic = spec.kind == ChannelKind::Topic;
    let replay = spec.groups.iter().any(|g| g.start != StartPosition::Latest);
    let delayed = spec.groups.iter().any(|g| g.max_delay.is_some_and(|d| !d.is_zero()));
    [
        (Capability::Queue, !topic),
        (Capability::Topic, topic),
        (Capability::OrderByKey, spec.ordered),
        (Capability::DelayedRetry, delayed),
        (Capability::Replay, topic && replay),
        (Capability::MaxBytes, spec.max_bytes.is_some()),
        (Capability::Retention, spec.retention.is_some()),
        (Capability::Replicas, spec.replicas.is_some_and(|n| n > 1)),
    ]
    .into_iter()
    .filter_map(|(capability, needed)| needed.then_some(capability))
}
