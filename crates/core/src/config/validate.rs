//! What must hold between tables: groups have a name, dead letters have a place, consumers
//! of one group agree.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{Findings, unknown};
use super::{ChannelConfig, Config, ConsumerConfig, HumanDuration};
use crate::broker::{ChannelKind, ChannelRole, DEFAULT_PARTITIONS, StartPosition};
use crate::model::{ChannelName, GroupName};

/// Checks the configuration as a whole and adds the dead-letter channels that it implies.
///
/// `declared` holds the channels that have a table, also those whose table is wrong.
pub(super) fn run(config: &mut Config, declared: &BTreeSet<String>, findings: &mut Findings) {
    let consumers: Vec<_> = config.consumers.values().cloned().collect();
    for consumer in &consumers {
        let path = format!("consumers.{}", consumer.name);
        group(config, consumer, &path, findings);
        let Some(consumer) = config.consumers.get(&consumer.name).cloned() else { continue };
        store(config, &consumer, &path, findings);
        waits(config, &consumer, &path, findings);
        dead_letter(config, &consumer, &path, declared, findings);
    }
    agreement(config, findings);
}

/// A queue has one group, which carries its name.
fn group(config: &mut Config, consumer: &ConsumerConfig, path: &str, findings: &mut Findings) {
    let Some(channel) = config.channels.get(&consumer.channel) else {
        return;
    };
    if channel.kind != ChannelKind::Queue {
        return;
    }
    let only = GroupName::from(&channel.name);
    let key = format!("{path}.group");
    if findings.origins.contains(&key) && consumer.group != only {
        let message = format!("the queue `{only}` has one group, which carries its name");
        findings.problem(key, message, "remove `group`, or make the channel a topic");
    }
    let key = format!("{path}.start");
    if findings.origins.contains(&key) {
        let message = "a queue has no start: its consumers share what is there";
        findings.warning(key, message, "remove `start`, or make the channel a topic");
    }
    if !consumer.subjects.is_empty() {
        let message = "a queue's messages are for this group alone: what no pattern takes would be \
                       lost";
        let fix = "remove `subjects`, or make the channel a topic";
        findings.problem(format!("{path}.subjects"), message, fix);
    }
    let implied = !findings.origins.contains(&format!("{path}.dead_letter"));
    if let Some(consumer) = config.consumers.get_mut(&consumer.name) {
        if let Some(default) = ChannelName::new(format!("{only}-dead")).ok().filter(|_| implied) {
            consumer.dead_letter = default;
        }
        consumer.group = only;
        consumer.start = StartPosition::Latest;
    }
}

/// On an ordered channel delays are waited in the process, so a message's lease must outlast them.
fn waits(config: &Config, consumer: &ConsumerConfig, path: &str, findings: &mut Findings) {
    let ordered = config.channels.get(&consumer.channel).is_some_and(|c| c.ordered);
    let total = consumer.retry.longest_total();
    if ordered && total >= consumer.max_lease {
        let message = format!(
            "on an ordered channel delays are waited in the process: up to {} in all, but \
             `max_lease` is {}",
            HumanDuration(total),
            HumanDuration(consumer.max_lease)
        );
        let fix = "raise `max_lease`, set a `max_elapsed` below it, or lower `delayed` or `max`";
        findings.problem(format!("{path}.retry"), message, fix);
    }
}

fn store(config: &Config, consumer: &ConsumerConfig, path: &str, findings: &mut Findings) {
    let in_memory = consumer.dedup.as_ref().is_some_and(|d| d.store == "memory");
    let broker = config
        .channels
        .get(&consumer.channel)
        .and_then(|channel| config.brokers.get(&channel.broker));
    if let Some(broker) = broker
        && in_memory
        && broker.scheme != "memory"
    {
        let message = "the store `memory` forgets on restart, and isn't shared by processes";
        let fix = "register a store that is, or accept duplicates after a restart";
        findings.warning(format!("{path}.dedup.store"), message, fix);
    }
}

fn dead_letter(
    config: &mut Config,
    consumer: &ConsumerConfig,
    path: &str,
    declared: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let name = &consumer.dead_letter;
    let key = format!("{path}.dead_letter");
    if *name == consumer.channel {
        let message = format!("`{name}` is the channel that the consumer consumes");
        findings.problem(key, message, "name another channel");
        return;
    }
    let Some(source) = config.channels.get(&consumer.channel) else {
        return;
    };
    let broker = source.broker.clone();
    if declared.contains(name.as_str()) {
        if let Some(channel) = config.channels.get_mut(name) {
            check_dead_letter(channel, consumer, &key, findings);
            channel.role = ChannelRole::DeadLetter;
        }
        return;
    }
    if findings.origins.contains(&key)
        && let (message, _) = unknown("", name.as_str(), declared.iter().map(String::as_str))
        && !message.is_empty()
    {
        let message = format!("`{name}` is not declared, and so implied{message}");
        findings.warning(key.clone(), message, format!("declare it: [channels.{name}]"));
    }
    let implied = config.channels.entry(name.clone()).or_insert_with(|| implied(name, &broker));
    if implied.broker != broker {
        let message = format!(
            "`{name}` is implied on the broker `{}` by another consumer, and on `{broker}` by this",
            implied.broker
        );
        findings.problem(key, message, format!("declare it: [channels.{name}]"));
    }
}

fn check_dead_letter(
    channel: &ChannelConfig,
    consumer: &ConsumerConfig,
    key: &str,
    findings: &mut Findings,
) {
    let name = &channel.name;
    if channel.kind != ChannelKind::Queue {
        let message = format!(
            "the dead-letter channel `{name}` is a topic: without a group it \
                               would lose what it is given"
        );
        findings.problem(key, message, format!("make `{name}` a queue, or name a queue"));
    }
    // Several consumers may share the channel: said once.
    if channel.ordered && channel.role != ChannelRole::DeadLetter {
        let message = format!(
            "a dead-letter channel is not ordered (consumer `{}` dead-letters to it)",
            consumer.name
        );
        let fix = "remove `order_by`";
        findings.problem(format!("channels.{name}.order_by"), message, fix);
    }
}

fn implied(name: &ChannelName, broker: &str) -> ChannelConfig {
    ChannelConfig {
        name: name.clone(),
        kind: ChannelKind::Queue,
        role: ChannelRole::DeadLetter,
        broker: broker.to_owned(),
        ordered: false,
        partitions: DEFAULT_PARTITIONS,
        retention: None,
        max_bytes: None,
        replicas: None,
        settings: BTreeMap::new(),
    }
}

/// Whether two consumers say the same under a key.
type Agree = fn(&ConsumerConfig, &ConsumerConfig) -> bool;

/// What the consumers of one group must agree on: any of them may get any message.
const SHARED: [(&str, Agree); 9] = [
    ("dead_letter", |a, b| a.dead_letter == b.dead_letter),
    ("retry", |a, b| a.retry == b.retry),
    ("dedup", |a, b| a.dedup == b.dedup),
    ("ack", |a, b| a.ack == b.ack),
    ("unknown_type", |a, b| a.unknown_type == b.unknown_type),
    ("expired", |a, b| a.expired == b.expired),
    ("max_deliveries", |a, b| a.max_deliveries == b.max_deliveries),
    ("start", |a, b| a.start == b.start),
    ("subjects", |a, b| a.subjects == b.subjects),
];

fn agreement(config: &Config, findings: &mut Findings) {
    let consumers: Vec<_> = config.consumers.values().collect();
    for (i, b) in consumers.iter().enumerate() {
        let same_group = |a: &&&ConsumerConfig| a.channel == b.channel && a.group == b.group;
        let Some(a) = consumers[..i].iter().find(same_group) else {
            continue;
        };
        for (key, agree) in SHARED {
            if !agree(a, b) {
                let message = format!(
                    "differs from the consumer `{}`, which shares the group `{}` of `{}`",
                    a.name, a.group, a.channel
                );
                let fix = format!("give both the same `{key}`");
                findings.problem(format!("consumers.{}.{key}", b.name), message, fix);
            }
        }
    }
}
