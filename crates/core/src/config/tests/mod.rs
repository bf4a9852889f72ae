//! The configuration as a whole: exact texts of problems, and what a good file becomes.

mod channels;
mod consumers;
mod layers;
mod needs;
mod urls;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::*;
use crate::broker::{Adapter, Broker, ChannelFacts, ChannelSpec, Connect, Topology};
use crate::{Error, ErrorKind};

/// Serves `memory://` and `fake://`, and has one key: `limit`.
#[derive(Debug)]
struct Fake;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code, reason = "only its reading matters")]
struct FakeSettings {
    limit: u32,
}

#[async_trait]
impl Adapter for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory", "fake"]
    }

    fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        settings.parse::<FakeSettings>().map(drop)
    }

    fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        settings.parse::<FakeSettings>().map(drop)
    }

    fn versions(&self) -> &'static [&'static str] {
        &[]
    }

    fn describe(
        &self,
        _: &str,
        _: &Settings,
        _: &Topology,
        _: &ChannelSpec,
    ) -> Result<ChannelFacts> {
        Err(Error::new(ErrorKind::Unsupported, "a fake"))
    }

    async fn connect(&self, _: Connect) -> Result<Arc<dyn Broker>> {
        Err(Error::new(ErrorKind::Disconnected, "a fake"))
    }
}

const BROKER: &str = "[broker]\nurl = 'memory://'\n";

fn build(text: &str) -> ConfigBuilder {
    Config::builder().text("p.toml", text).adapters(&[Arc::new(Fake)])
}

fn good(text: &str) -> Config {
    build(&format!("{BROKER}{text}")).build().unwrap()
}

/// The problems of a file, one per line, as they print. The text begins on line 3.
fn problems(text: &str) -> Vec<String> {
    all_problems(&format!("{BROKER}{text}"))
}

fn all_problems(text: &str) -> Vec<String> {
    lines(build(text))
}

fn lines(builder: ConfigBuilder) -> Vec<String> {
    let errors = builder.check().expect_err("problems");
    errors.problems().iter().map(Problem::to_string).collect()
}

fn warnings(config: &Config) -> Vec<String> {
    config.warnings.iter().map(Problem::to_string).collect()
}

#[test]
fn ten_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let text = "\
topologie = 'off'
drain_timeout = 30
[broker]
url = 'memory://'
[channels.emails]
kind = 'heap'
[channels.Orders]
kind = 'topic'
[channels.receipts]
kind = 'queue'
partitions = 0
[consumers.mailer]
chanel = 'emails'
channel = 'email'
outputs = ['receipts', 'reciepts']
concurrency = 0
retry = { base = '10m', backof = 'linear' }
breaker = { failure_rate = 1.5 }
";
    assert_eq!(
        all_problems(text),
        [
            "p.toml:1:1: topologie: unknown key; did you mean `topology`?",
            "p.toml:2:1: drain_timeout: expected a duration such as \"30s\", found an integer",
            "p.toml:6:1: channels.emails.kind: unknown value \"heap\"; fix: use \"queue\" or \
             \"topic\"",
            "p.toml:7:11: channels.Orders: the channel name `Orders` does not start with a \
             lowercase letter; fix: names match [a-z][a-z0-9-]* and are at most 48 characters long",
            "p.toml:11:1: channels.receipts.partitions: 0 is out of range; fix: use 1 to 10000",
            "p.toml:13:1: consumers.mailer.chanel: unknown key; did you mean `channel`?",
            "p.toml:14:1: consumers.mailer.channel: no channel is called `email`; did you mean \
             `emails`?",
            "p.toml:15:24: consumers.mailer.outputs[1]: no channel is called `reciepts`; did you \
             mean `receipts`?",
            "p.toml:16:1: consumers.mailer.concurrency: 0 is out of range; fix: use 1 to 65536",
            "p.toml:17:11: consumers.mailer.retry.base: the first delay `base` is longer than the \
             longest, `max`; fix: lower `base` or raise `max`",
            "p.toml:17:25: consumers.mailer.retry.backof: unknown key; did you mean `backoff`?",
            "p.toml:18:13: consumers.mailer.breaker.failure_rate: 1.5 is out of range; fix: use a \
             share above 0 and at most 1, such as 0.5",
        ]
    );
}

#[test]
fn a_syntax_error_names_its_place_and_does_not_quote_the_line() {
    for line in [
        "url = 'amqp://u:hunter2@h",
        "url = amqp://u:hunter2@h",
        "password = hunter2",
        "password = \"\\hunter2\"",
        "hunter2",
    ] {
        let found = all_problems(&format!("[broker]\n{line}\n"));
        assert!(found[0].starts_with("p.toml:2:"), "{found:?}");
        assert!(found[0].contains(": not valid TOML: "), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn an_unknown_key_that_resembles_none_lists_those_that_exist() {
    assert_eq!(
        problems("[publish]\nfoo = 1"),
        ["p.toml:4:1: publish.foo: unknown key; fix: use one of deadline, window, when_full"]
    );
}

#[test]
fn the_error_holds_all_problems_and_is_of_kind_config() {
    let error = build("a = 1").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        "the configuration has 2 problems\n\
         p.toml:1:1: a: unknown key; fix: use one of namespace, topology, security, \
         connect_timeout, drain_timeout, publish, broker, brokers, channels, consumers\n\
         p.toml:1:1: no broker is configured; fix: add a table [broker] with url = \"memory://\", \
         or set POLYMQ_BROKER__URL"
    );
}

#[test]
fn an_empty_configuration_has_the_documented_defaults() {
    let config = good("");
    assert_eq!(config.namespace, "polymq");
    assert_eq!(config.topology, TopologyPolicy::CreateMissing);
    assert_eq!(config.publish, PublishConfig::default());
    assert!(!config.strict_security);
    assert_eq!(config.connect_timeout, Duration::from_secs(30));
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.brokers["default"].scheme, "memory");
    assert!(config.channels.is_empty() && config.consumers.is_empty());
}

#[test]
fn a_key_is_located_and_so_is_one_that_was_not_given() {
    let config =
        good("[channels.a]\nkind = 'queue'\n[consumers.c]\nchannel = 'a'\nretry.delayed = 3");
    let at = |path: &str| config.locate(path).to_string();
    assert_eq!(at("consumers.c.retry.delayed"), "p.toml:7:7");
    assert_eq!(at("consumers.c.retry.base"), "p.toml:7:1");
    assert_eq!(at("consumers.c.timeout"), "p.toml:5:12");
    assert_eq!(at("namespace"), "p.toml:1:1");
    assert_eq!(
        config.problem("consumers.c.channel", "no", "yes").to_string(),
        "p.toml:6:1: consumers.c.channel: no; fix: yes"
    );
}

#[test]
fn the_documented_example_is_a_good_configuration() {
    let text = r#"
namespace = "prod"

[broker]
url = "amqp://guest:guest@localhost:5672/%2f"

[channels.orders]
kind = "topic"
order_by = "key"
partitions = 12
retention = "7d"
replicas = 3
  [channels.orders.kafka]
  topic = "legacy.Orders"

[channels.emails]
kind = "queue"

[channels.receipts]
kind = "queue"

[consumers.mailer]
channel = "emails"
outputs = ["receipts"]
concurrency = 32
prefetch = 256
timeout = "30s"
retry = { immediate = 2, delayed = 5, backoff = "exponential", base = "1s", max = "5m", jitter = "full", max_elapsed = "1h" }
dead_letter = "emails-dead"
dedup = { store = "memory", window = "24h", on_store_failure = "pause" }
breaker = { failure_rate = 0.5, minimum = 20, window = "10s", open = "30s" }
"#;
    let config = Config::builder().text("p.toml", text).build().unwrap();
    assert_eq!(config.namespace, "prod");
    assert_eq!(config.consumers["mailer"].dead_letter, "emails-dead");
    assert_eq!(config.channels.len(), 4);
    let addresses = config.brokers["default"].addresses();
    assert_eq!(addresses, ["amqp://localhost:5672"]);
    assert_eq!(config.warnings.len(), 1, "the store in memory");
}
