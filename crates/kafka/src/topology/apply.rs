//! Makes what is missing.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use polymq_core::broker::{Difference, Plan, PlannedObject};
use polymq_core::{Error, ErrorKind, Result};
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::objects::{GROUP, Group, Objects, TOPIC, Topic};
use super::plan::place;
use super::settings::in_sync;
use crate::blocking::side_by_side;
use crate::error;
use crate::offsets;
use crate::session::{Session, of_topic};
use crate::target::Target;

/// What to do without the right to create.
const NO_RIGHT: &str = "let somebody with the rights apply the topology (`polymq topology apply`) and set \
    `topology = \"check\"`, or grant them: `kafka-acls.sh` (CREATE and DESCRIBE on topics, READ on the group to \
    commit where it starts)";

/// How often a topic that was just created is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Makes the objects that `plan` says are missing. What somebody else has made meanwhile is as good as ours.
pub(crate) fn apply(
    target: &Target,
    objects: &Objects,
    plan: &Plan,
    deadline: Instant,
) -> Result<()> {
    let differing: Vec<String> = plan.differing().map(|(o, d)| differs(o, d)).collect();
    if !differing.is_empty() {
        return Err(Error::new(ErrorKind::TopologyMismatch, differing.join("; ")).with_help(
            "an existing object is never changed: correct the configuration, or move to a new channel",
        ));
    }
    let missing: HashSet<(&str, &str)> =
        plan.missing().map(|object| (object.kind, object.name.as_str())).collect();
    let is_missing = |topic: &&Topic| missing.contains(&(TOPIC, topic.name.as_ref()));
    if let Some(topic) = objects.topics().filter(is_missing).find(|topic| topic.is_bound) {
        return Err(error::no_topic(&topic.name).with_channel(&topic.channel).with_help(
            "the channel's table is bound to it by name: create it, or remove the name to use a topic of \
             polymq's own",
        ));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let session = Session::open(target, None, deadline)?;
    let channels: Vec<&Topic> = objects.channels.iter().filter(is_missing).collect();
    create(target, &session, &channels)?;
    let groups = objects.groups.iter().filter(|g| missing.contains(&(GROUP, g.id.as_ref())));
    let groups: Vec<&Group> = groups.collect();
    side_by_side(&groups, |group| {
        begin(target, group, deadline).map_err(|e| place(with_rights(e), group))
    })?;
    let inboxes: Vec<&Topic> = objects.inboxes.iter().filter(is_missing).collect();
    create(target, &session, &inboxes)
}

fn differs(object: &PlannedObject, differences: &[Difference]) -> String {
    let list: Vec<String> = differences
        .iter()
        .map(|d| format!("{} is {}, the configuration says {}", d.field, d.found, d.wanted))
        .collect();
    format!("the {} `{}` differs: {}", object.kind, object.name, list.join(", "))
}

fn with_rights(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied => error.with_help(NO_RIGHT),
        _ => error,
    }
}

fn begin(target: &Target, group: &Group, deadline: Instant) -> Result<()> {
    let session = Session::open(target, Some(&group.id), deadline)?;
    offsets::begin(&session, &group.topic, group.start)
}

/// Creates topics, and waits until they can be written and read.
fn create(target: &Target, session: &Session, topics: &[&Topic]) -> Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let max_bytes = target.table().max_topic_bytes().map(|bytes| bytes.to_string());
    let extra: Vec<_> = topics.iter().map(|topic| topic.replicas.and_then(in_sync)).collect();
    let wanted = topics.iter().zip(&extra).map(|(topic, extra)| {
        let replicas = topic.replicas.map_or(-1, u32::cast_signed);
        let new = NewTopic::new(
            &topic.name,
            topic.partitions.cast_signed(),
            TopicReplication::Fixed(replicas),
        );
        let new = topic.settings.iter().chain(extra).fold(new, |new, s| new.set(s.name, &s.value));
        max_bytes.iter().fold(new, |new, bytes| new.set("max.message.bytes", bytes))
    });
    let wanted: Vec<NewTopic<'_>> = wanted.collect();
    let created =
        session.administer(|admin, options| admin.create_topics(wanted.iter(), options))?;
    for result in created {
        match result {
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(of_topic(with_rights(error::by_code(code)), &name)),
        }
    }
    topics.iter().try_for_each(|topic| settle(session, topic))
}

/// Brokers learn of a topic one after the other, and elect its leaders after that.
fn settle(session: &Session, topic: &Topic) -> Result<()> {
    while !session.topic(&topic.name)?.is_some_and(|found| found.is_ready) {
        if session.left().is_zero() {
            return Err(error::late("a new topic has no leaders yet")
                .with_channel(&topic.channel)
                .with_context("topic", &topic.name));
        }
        thread::sleep(GLANCE);
    }
    Ok(())
}
