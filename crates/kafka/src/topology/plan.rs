//! How the objects stand.

use std::collections::{HashMap, HashSet};

use polymq_core::broker::{Difference, ObjectState, Plan, PlannedObject};
use polymq_core::{Error, ErrorKind, Result};
use rdkafka::admin::{OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::objects::{GROUP, Group, Objects, TOPIC, Topic};
use crate::blocking::side_by_side;
use crate::error;
use crate::session::{Session, TopicState};
use crate::target::Target;

/// Settings of a topic, by name.
type Settings = HashMap<String, String>;

/// Asks the brokers for every object. Without the right to describe a topic's settings, or a group, being
/// there is all that is known of it.
pub(crate) fn plan(target: &Target, objects: &Objects, deadline: Instant) -> Result<Plan> {
    let session = Session::open(target, None, deadline)?;
    let mut found = HashMap::new();
    for topic in objects.topics() {
        let state = session.topic(&topic.name).map_err(|e| e.with_channel(&topic.channel))?;
        found.extend(state.map(|state| (topic.name.as_ref(), state)));
    }
    let compared = objects.topics().filter(|topic| !topic.is_bound).map(|topic| &*topic.name);
    let settings = settings(&session, compared.filter(|name| found.contains_key(name)))?;
    let topic = |topic: &Topic| PlannedObject {
        channel: Some(topic.channel.clone()),
        kind: TOPIC,
        name: topic.name.to_string(),
        state: match found.get(topic.name.as_ref()) {
            Some(state) => compared_with(topic, *state, settings.get(topic.name.as_ref())),
            None => ObjectState::Missing,
        },
    };
    let mut plan = Plan::default();
    plan.objects.extend(objects.channels.iter().map(topic));
    // After the inboxes: who created one has committed before.
    plan.objects.extend(side_by_side(&objects.groups, |group| {
        let state = group_state(target, group, &found, deadline);
        Ok(PlannedObject {
            channel: Some(group.channel.clone()),
            kind: GROUP,
            name: group.id.to_string(),
            state: state.map_err(|e| place(e, group))?,
        })
    })?);
    plan.objects.extend(objects.inboxes.iter().map(topic));
    Ok(plan)
}

/// Names the group in an error.
pub(super) fn place(error: Error, group: &Group) -> Error {
    error.with_channel(&group.channel).with_context("consumer_group", &group.id)
}

fn compared_with(topic: &Topic, found: TopicState, settings: Option<&Settings>) -> ObjectState {
    let mut differences = Vec::new();
    if topic.is_counted && found.partitions != topic.partitions {
        differences.push(Difference {
            field: "partitions".to_owned(),
            wanted: topic.partitions.to_string(),
            found: found.partitions.to_string(),
        });
    }
    let replicas = topic.replicas.filter(|wanted| !topic.is_bound && found.replicas != *wanted);
    if let Some(wanted) = replicas {
        differences.push(Difference {
            field: "replicas (the topic's replication factor)".to_owned(),
            wanted: wanted.to_string(),
            found: found.replicas.to_string(),
        });
    }
    if let Some(settings) = settings {
        let told = |name| settings.get(name).map(String::as_str);
        let compared = topic.settings.iter().filter_map(|s| s.difference(told(s.name)?));
        differences.extend(compared);
    }
    match differences.is_empty() {
        true => ObjectState::Present,
        false => ObjectState::Differs(differences),
    }
}

/// The settings of topics, as far as we may see them.
fn settings<'a>(
    session: &Session,
    topics: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, Settings>> {
    let topics: HashSet<&str> = topics.collect();
    let topics: Vec<_> = topics.into_iter().map(ResourceSpecifier::Topic).collect();
    if topics.is_empty() {
        return Ok(HashMap::new());
    }
    let described =
        session.administer(|admin, options| admin.describe_configs(&topics, options))?;
    let mut found = HashMap::new();
    for resource in described {
        match resource {
            Ok(resource) => {
                let OwnedResourceSpecifier::Topic(name) = resource.specifier else { continue };
                let entries = resource.entries.into_iter();
                found.insert(name, entries.filter_map(|e| Some((e.name, e.value?))).collect());
            }
            // No right, or gone since.
            Err(Code::TopicAuthorizationFailed | Code::UnknownTopicOrPartition) => {}
            Err(code) => return Err(error::by_code(code)),
        }
    }
    Ok(found)
}

fn group_state(
    target: &Target,
    group: &Group,
    topics: &HashMap<&str, TopicState>,
    deadline: Instant,
) -> Result<ObjectState> {
    let Some(topic) = topics.get(group.topic.as_ref()) else { return Ok(ObjectState::Missing) };
    let has_inbox = topics.contains_key(group.inbox.as_ref());
    let committed = Session::open(target, Some(&group.id), deadline)
        .and_then(|session| session.committed(&group.topic, topic.partitions));
    match committed {
        Ok(offsets) if offsets.iter().any(Option::is_some) => Ok(ObjectState::Present),
        Err(e) if e.kind() == ErrorKind::PermissionDenied && has_inbox => Ok(ObjectState::Present),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(ObjectState::Missing),
        Err(e) => Err(e),
        Ok(_) if has_inbox => Ok(ObjectState::Differs(vec![forgotten()])),
        Ok(_) => Ok(ObjectState::Missing),
    }
}

fn forgotten() -> Difference {
    Difference {
        field: "committed offsets".to_owned(),
        wanted: "where the group left off".to_owned(),
        found: "gone: Kafka forgets a group that has had no members for offsets.retention.minutes \
                (7 days); say where it goes on: `polymq seek CONSUMER --to earliest` repeats what is still \
                there, `--to latest` leaves it out"
            .to_owned(),
    }
}
