use std::collections::BTreeSet;

use crate::broker::StartPosition;
use crate::config::keys;
use crate::config::problem::{Findings, unknown};
use crate::config::reader::Reader;
use crate::config::{
    AckMode, BatchConfig, BreakerConfig, ConsumerConfig, DedupConfig, ExpiredPolicy, StoreFailure,
    UnknownType,
};
use crate::model::{ChannelName, ConsumerName, GroupName, SubjectPattern};
use crate::{Error, Timestamp};

const MAX_CONCURRENCY: i64 = 65_536;
const MAX_PREFETCH: i64 = 1_000_000;

/// Reads a consumer's table; `None` when what identifies it is wrong. `declared` holds the channels
/// that have a table, also those whose table is wrong.
pub(super) fn read(
    name: &str,
    mut r: Reader<'_>,
    declared: &BTreeSet<String>,
) -> Option<ConsumerConfig> {
    let name = r.own_name(name.parse::<ConsumerName>());
    r.require("channel", "name the channel that it consumes");
    let channel = r.parsed::<ChannelName>("channel", "a channel's name");
    if let Some(channel) = &channel {
        let path = r.path_of("channel");
        known_channel(channel, path, declared, r.findings);
    }
    let group = r.parsed::<GroupName>("group", "a group's name");
    let group = group.or_else(|| name.as_ref().map(GroupName::from));
    let dead_letter = dead_letter(&mut r, group.as_ref());
    let subjects = subjects(&mut r);
    let outputs = outputs(&mut r, channel.as_ref(), declared);
    let complete = name.is_some() && channel.is_some() && dead_letter.is_some();
    // Stand-ins, so that the rest of the table is checked all the same.
    let name = name.or_else(|| ConsumerName::new("unnamed").ok())?;
    let channel = channel.or_else(|| ChannelName::new("unnamed").ok())?;
    let dead_letter = dead_letter.unwrap_or_else(|| channel.clone());
    let group = group.unwrap_or_else(|| GroupName::from(&name));
    let mut c = ConsumerConfig::new(name, channel, group, dead_letter);
    c.subjects = subjects;
    c.outputs = outputs;
    limits(&mut r, &mut c);
    policies(&mut r, &mut c);
    if let Some(retry) = r.table("retry", &keys::RETRY) {
        c.retry = super::retry::read(retry);
    }
    c.dedup = r.table("dedup", &keys::DEDUP).map(dedup);
    c.breaker = r.table("breaker", &keys::BREAKER).map(breaker);
    if c.dedup.is_some() && c.ack == AckMode::Before {
        let message = "deduplication commits after handling, but `ack = \"before\"` acks earlier";
        r.problem("dedup", message, "remove `dedup`, or use ack = \"after\"");
    }
    complete.then_some(c)
}

/// The default is for a topic's group; a queue's is set once it is known to be one.
fn dead_letter(r: &mut Reader<'_>, group: Option<&GroupName>) -> Option<ChannelName> {
    if r.has("dead_letter") {
        return r.parsed("dead_letter", "a channel's name");
    }
    let default = ChannelName::new(format!("{}-dead", group?));
    if default.is_err() {
        let message = "the default, the group's name and `-dead`, is longer than 48 characters";
        r.problem("dead_letter", message, "set `dead_letter`");
    }
    default.ok()
}

fn subjects(r: &mut Reader<'_>) -> Vec<SubjectPattern> {
    let mut patterns = Vec::new();
    for (path, text) in r.texts("subjects").unwrap_or_default() {
        match text.parse() {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => r.findings.refuse(path, &error),
        }
    }
    patterns
}

fn outputs(
    r: &mut Reader<'_>,
    channel: Option<&ChannelName>,
    declared: &BTreeSet<String>,
) -> Vec<ChannelName> {
    let mut names = Vec::new();
    for (path, text) in r.texts("outputs").unwrap_or_default() {
        match text.parse::<ChannelName>() {
            Ok(name) if channel == Some(&name) => {
                let message = format!("`{name}` is the channel that the consumer consumes");
                r.findings.problem(path, message, "name another channel");
            }
            Ok(name) => {
                known_channel(&name, path, declared, r.findings);
                names.push(name);
            }
            Err(error) => r.findings.refuse(path, &error),
        }
    }
    names
}

fn known_channel(
    name: &ChannelName,
    path: String,
    declared: &BTreeSet<String>,
    findings: &mut Findings,
) {
    if declared.contains(name.as_str()) {
        return;
    }
    let what = format!("no channel is called `{name}`");
    let (message, mut fix) = unknown(&what, name.as_str(), declared.iter().map(String::as_str));
    if declared.is_empty() {
        fix = format!("declare it: [channels.{name}]");
    }
    findings.problem(path, message, fix);
}

fn limits(r: &mut Reader<'_>, c: &mut ConsumerConfig) {
    if let Some(batch) = r.table("batch", &keys::BATCH) {
        c.batch = read_batch(batch);
    }
    let concurrency = r.integer("concurrency", 1..=MAX_CONCURRENCY);
    c.concurrency = concurrency.unwrap_or(c.concurrency);
    let default = c.prefetch.max(2 * c.concurrency).max(c.batch.max);
    c.prefetch = r.integer("prefetch", 1..=MAX_PREFETCH).unwrap_or(default);
    if c.prefetch < c.concurrency {
        let message = format!(
            "{} is less than `concurrency`, {}: handlers would idle",
            c.prefetch, c.concurrency
        );
        r.problem("prefetch", message, "raise it, or lower `concurrency`");
    }
    if !r.has("batch") {
        c.batch.max = c.batch.max.min(c.prefetch);
    }
    if c.prefetch < c.batch.max {
        let message = format!(
            "{} is less than `batch.max`, {}: no batch would fill",
            c.prefetch, c.batch.max
        );
        r.problem("prefetch", message, "raise it, or lower `batch.max`");
    }
    c.timeout = r.positive("timeout").unwrap_or(c.timeout);
    c.max_lease = r.positive("max_lease").unwrap_or(c.max_lease);
    if c.timeout > c.max_lease {
        let key = if r.has("timeout") { "timeout" } else { "max_lease" };
        let message = "an attempt may take longer (`timeout`) than its message is held \
                       (`max_lease`)";
        r.problem(key, message, "lower `timeout` or raise `max_lease`");
    }
    let deliveries = r.integer("max_deliveries", 1..=1_000_000);
    c.max_deliveries = deliveries.unwrap_or(c.max_deliveries);
}

fn policies(r: &mut Reader<'_>, c: &mut ConsumerConfig) {
    c.ack = r.choice("ack", &ACK).unwrap_or(c.ack);
    c.unknown_type = r.choice("unknown_type", &UNKNOWN).unwrap_or(c.unknown_type);
    c.expired = r.choice("expired", &EXPIRED).unwrap_or(c.expired);
    let start = r.parsed::<Start>("start", "\"latest\", \"earliest\" or a moment");
    if let Some(Start(start)) = start {
        c.start = start;
    }
}

fn dedup(mut r: Reader<'_>) -> DedupConfig {
    let d = DedupConfig::default();
    let dedup = DedupConfig {
        store: r.text("store").map_or(d.store, str::to_owned),
        window: r.positive("window").unwrap_or(d.window),
        lease: r.positive("lease").unwrap_or(d.lease),
        on_store_failure: r
            .choice("on_store_failure", &STORE_FAILURE)
            .unwrap_or(d.on_store_failure),
    };
    if dedup.lease > dedup.window {
        let key = if r.has("lease") { "lease" } else { "window" };
        let message = "a claim (`lease`) outlives what is remembered (`window`)";
        r.problem(key, message, "lower `lease` or raise `window`");
    }
    dedup
}

fn breaker(mut r: Reader<'_>) -> BreakerConfig {
    let d = BreakerConfig::default();
    BreakerConfig {
        failure_rate: r.share("failure_rate").unwrap_or(d.failure_rate),
        minimum: r.integer("minimum", 1..=1_000_000).unwrap_or(d.minimum),
        window: r.positive("window").unwrap_or(d.window),
        open: r.positive("open").unwrap_or(d.open),
    }
}

fn read_batch(mut r: Reader<'_>) -> BatchConfig {
    let d = BatchConfig::default();
    BatchConfig {
        max: r.integer("max", 1..=MAX_PREFETCH).unwrap_or(d.max),
        linger: r.duration("linger").unwrap_or(d.linger),
    }
}

struct Start(StartPosition);

impl std::str::FromStr for Start {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self(match text {
            "latest" => StartPosition::Latest,
            "earliest" => StartPosition::Earliest,
            moment => StartPosition::Timestamp(moment.parse::<Timestamp>().map_err(|error| {
                error.with_help("use \"latest\", \"earliest\" or a moment in RFC 3339")
            })?),
        }))
    }
}

const ACK: [(&str, AckMode); 2] = [("after", AckMode::After), ("before", AckMode::Before)];

const UNKNOWN: [(&str, UnknownType); 3] = [
    ("dead-letter", UnknownType::DeadLetter),
    ("ignore", UnknownType::Ignore),
    ("fail", UnknownType::Fail),
];

const EXPIRED: [(&str, ExpiredPolicy); 2] =
    [("drop", ExpiredPolicy::Drop), ("dead-letter", ExpiredPolicy::DeadLetter)];

const STORE_FAILURE: [(&str, StoreFailure); 2] =
    [("pause", StoreFailure::Pause), ("pass", StoreFailure::Pass)];
