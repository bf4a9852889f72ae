use super::*;
use crate::broker::{BrokerInfo, Capabilities, Capability, ChannelSpec, Limits};

fn check(text: &str, capabilities: impl Fn(&ChannelSpec) -> Capabilities) -> Vec<String> {
    let config = good(text);
    let info = BrokerInfo {
        name: "default".to_owned(),
        system: "nats",
        product: "NATS 2.10".to_owned(),
        address: "nats://h".to_owned(),
        durability: "none",
    };
    let topology = config.topology_of("default", "nats");
    let problems = check_needs(&config, "default", &info, capabilities, &topology);
    problems.iter().map(Problem::to_string).collect()
}

fn everything() -> Capabilities {
    Capabilities::of(Capability::ALL.iter().copied())
}

const SERVICE: &str = "\
[channels.t]
kind = 'topic'
max_bytes = 10
replicas = 3
retention = '7d'
[channels.o]
kind = 'queue'
order_by = 'key'
[consumers.a]
channel = 't'
start = 'earliest'
retry = { delayed = 5 }
[consumers.b]
channel = 'o'
max_lease = '13h'
";

#[test]
fn a_broker_that_can_do_everything_meets_every_need() {
    assert_eq!(check(SERVICE, |_| everything()), [""; 0]);
}

#[test]
fn a_lacking_capability_is_reported_at_the_key_that_needs_it_with_reason_and_fix() {
    let found = check(SERVICE, |_| {
        let fix = "upgrade to 2.12 or later, or set delayed = 0";
        everything().without(Capability::DelayedRetry, "no message schedules", fix)
    });
    assert_eq!(
        found,
        ["p.toml:14:11: consumers.a.retry.delayed: NATS 2.10 (broker `default`) has no \
             delayed-retry: no message schedules; fix: upgrade to 2.12 or later, or set delayed = 0"]
    );
}

#[test]
fn each_need_has_its_key() {
    let found = check(SERVICE, |_| Capabilities::of([]));
    let keys: Vec<_> = found.iter().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        keys,
        [
            "consumers.a.dead_letter",
            "channels.o.kind",
            "channels.o.order_by",
            "consumers.b.dead_letter",
            "channels.t.kind",
            "channels.t.max_bytes",
            "channels.t.replicas",
            "channels.t.retention",
            "consumers.a.retry.delayed",
            "consumers.a.start",
        ]
    );
}

#[test]
fn quantities_above_the_brokers_limits_are_reported() {
    let found = check(SERVICE, |_| {
        everything().with_limits(Limits {
            max_retention: Some(Duration::from_secs(4 * 86_400)),
            max_lease: Some(Duration::from_secs(12 * 3600)),
            ..Limits::default()
        })
    });
    assert_eq!(
        found,
        [
            "p.toml:17:1: consumers.b.max_lease: NATS 2.10 (broker `default`) holds a message for \
             at most 12h; fix: set max_lease = \"12h\" or less",
            "p.toml:7:1: channels.t.retention: NATS 2.10 (broker `default`) keeps messages for at \
             most 4days; fix: set retention = \"4days\" or less",
        ]
    );
}

#[test]
fn nothing_is_delayed_on_an_ordered_channel_or_when_acked_before() {
    let text = "[channels.o]\nkind = 'queue'\norder_by = 'key'\n[channels.q]\nkind = 'queue'\n\
                [consumers.a]\nchannel = 'o'\n[consumers.b]\nchannel = 'q'\nack = 'before'";
    let found = check(text, |_| everything().without(Capability::DelayedRetry, "", ""));
    assert_eq!(found, [""; 0]);
}
