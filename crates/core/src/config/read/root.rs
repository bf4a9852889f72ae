use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{broker, channel, consumer};
use crate::config::keys::{Adapters, BROKER, PUBLISH, ROOT};
use crate::config::problem::Findings;
use crate::config::reader::Reader;
use crate::config::tree::Table;
use crate::config::{
    BrokerConfig, Config, ConfigErrors, PublishConfig, TopologyPolicy, WhenFull, validate,
};

/// Reads and validates the whole tree; what was found wrong before is in `findings`.
pub(in crate::config) fn read(
    table: &Table,
    mut findings: Findings,
    adapters: Adapters<'_>,
) -> Result<Config, ConfigErrors> {
    let origins = Arc::clone(&findings.origins);
    let mut r = Reader::new(table, String::new(), &ROOT, &mut findings, adapters);
    let thirty = Duration::from_secs(30);
    let strict_security = r.choice("security", &SECURITY).unwrap_or(false);
    let mut broker_names = Vec::new();
    let mut channel_names = BTreeSet::new();
    let mut config = Config {
        namespace: r.parsed("namespace", "a name").unwrap_or_default(),
        topology: r.choice("topology", &TOPOLOGY).unwrap_or_default(),
        strict_security,
        connect_timeout: r.positive("connect_timeout").unwrap_or(thirty),
        drain_timeout: r.positive("drain_timeout").unwrap_or(thirty),
        publish: r.table("publish", &PUBLISH).map(publish).unwrap_or_default(),
        brokers: brokers(&mut r, strict_security, &mut broker_names),
        channels: BTreeMap::new(),
        consumers: BTreeMap::new(),
        warnings: Vec::new(),
        origins,
    };
    r.tables("channels", |name, r| {
        channel_names.insert(name.to_owned());
        if let Some(channel) = channel::read(name, r, &broker_names) {
            config.channels.insert(channel.name.clone(), channel);
        }
    });
    r.tables("consumers", |name, r| {
        if let Some(consumer) = consumer::read(name, r, &channel_names) {
            config.consumers.insert(consumer.name.clone(), consumer);
        }
    });
    validate::run(&mut config, &channel_names, &mut findings);
    findings.warnings.sort_by(|a, b| a.origin.cmp(&b.origin));
    config.warnings = findings.warnings;
    match ConfigErrors::from_problems(findings.problems) {
        None => Ok(config),
        Some(errors) => Err(errors),
    }
}

/// Reads `[broker]` and `[brokers.NAME]`; `names` gets the broken ones too.
fn brokers(
    r: &mut Reader<'_>,
    strict: bool,
    names: &mut Vec<String>,
) -> BTreeMap<String, BrokerConfig> {
    let mut brokers = BTreeMap::new();
    let mut add = |name: &str, reader: Reader<'_>| {
        names.push(name.to_owned());
        if let Some(broker) = broker::read(name, reader, strict) {
            brokers.insert(name.to_owned(), broker);
        }
    };
    let single = r.has("broker");
    if let Some(reader) = r.table("broker", &BROKER) {
        add(DEFAULT_BROKER, reader);
    }
    r.tables("brokers", |name, reader| {
        if single && name == DEFAULT_BROKER {
            let message = "`[broker]` is called `default` too";
            let path = reader.path.clone();
            reader.findings.problem(path, message, "rename this one");
        } else {
            add(name, reader);
        }
    });
    if names.is_empty() && !single {
        let fix = "add a table [broker] with url = \"memory://\", or set POLYMQ_BROKER__URL";
        r.findings.problem("", "no broker is configured", fix);
    }
    brokers
}

fn publish(mut r: Reader<'_>) -> PublishConfig {
    let d = PublishConfig::default();
    PublishConfig {
        deadline: r.positive("deadline").unwrap_or(d.deadline),
        window: r.integer("window", 1..=1_000_000).unwrap_or(d.window),
        when_full: r.choice("when_full", &WHEN_FULL).unwrap_or(d.when_full),
    }
}

/// What the broker of `[broker]` is called.
const DEFAULT_BROKER: &str = "default";

const TOPOLOGY: [(&str, TopologyPolicy); 3] = [
    ("create-missing", TopologyPolicy::CreateMissing),
    ("check", TopologyPolicy::Check),
    ("off", TopologyPolicy::Off),
];

const SECURITY: [(&str, bool); 2] = [("default", false), ("strict", true)];

const WHEN_FULL: [(&str, WhenFull); 2] = [("block", WhenFull::Block), ("fail", WhenFull::Fail)];
