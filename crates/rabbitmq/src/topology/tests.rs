//! What a topology comes to, without a broker.

use std::collections::HashSet;
use std::time::Duration;

use lapin::types::AMQPValue;
use polymq_core::broker::{ChannelSpec, Topology};
use polymq_core::config::Settings;

use super::objects::{Object, Stage};
use super::stages;
use crate::layout::Layout;

fn made(channels: Vec<ChannelSpec>) -> [Stage; 2] {
    let topology = Topology { namespace: "ns".parse().unwrap(), channels };
    stages(&topology, &Layout::new(&topology).unwrap())
}

fn queue(name: &str) -> ChannelSpec {
    ChannelSpec::queue(name.parse().unwrap())
}

fn topic(name: &str, groups: &[&str]) -> ChannelSpec {
    ChannelSpec::topic(name.parse().unwrap(), groups.iter().map(|group| group.parse().unwrap()))
}

fn ordered(channel: ChannelSpec, partitions: u32) -> ChannelSpec {
    let mut channel = channel;
    (channel.ordered, channel.partitions) = (true, partitions);
    channel
}

fn with_table(mut channel: ChannelSpec, table: &str) -> ChannelSpec {
    channel.settings = Settings::from_toml(table).unwrap();
    channel
}

fn find<'a>(stages: &'a [Stage], kind: &str, name: &str) -> &'a Object {
    let mut objects = stages.iter().flat_map(Stage::objects);
    objects.find(|object| object.shape.word() == kind && object.name.as_str() == name).unwrap()
}

fn argument<'a>(object: &'a Object, name: &str) -> Option<&'a AMQPValue> {
    object.arguments.inner().get(name)
}

/// The bindings of channels as `exchange queue key`.
fn bindings(stages: &[Stage; 2]) -> Vec<String> {
    let show =
        |b: &super::objects::Binding| format!("{} {} {}", b.exchange, b.queue, b.routing_key);
    stages[1].bindings.iter().map(show).collect()
}

#[test]
fn a_queue_is_an_exchange_a_queue_and_a_retry_inbox() {
    let stages = made(vec![queue("q")]);
    let names: Vec<_> = stages[1].objects().map(|o| (o.shape.word(), o.name.as_str())).collect();
    assert_eq!(names, [("queue", "ns.q"), ("queue", "ns.q._retry"), ("exchange", "ns.q")]);
    assert_eq!(bindings(&stages), ["ns.q ns.q #", "ns._home ns.q._retry ns.q._retry"]);
    let alternate = argument(find(&stages, "exchange", "ns.q"), "alternate-exchange");
    assert_eq!(alternate, Some(&AMQPValue::LongString("ns._homeless".into())));
}

#[test]
fn a_message_of_a_topic_without_groups_is_dropped_and_one_of_a_queue_never() {
    let stages = made(vec![topic("t", &[]), ordered(topic("u", &[]), 2), ordered(queue("q"), 2)]);
    assert_eq!(argument(find(&stages, "exchange", "ns.t"), "alternate-exchange"), None);
    let next = |name| argument(find(&stages, "exchange", name), "alternate-exchange");
    assert_eq!(next("ns.u._of.2"), None);
    assert_eq!(next("ns.q._of.2"), Some(&AMQPValue::LongString("ns._homeless".into())));
}

#[test]
fn partitions_are_bound_by_number_and_read_by_one_consumer_at_a_time() {
    let stages = made(vec![ordered(topic("t", &["a"]), 2)]);
    assert_eq!(
        bindings(&stages),
        ["ns.t ns.t.a._0 0.#", "ns.t ns.t.a._1 1.#", "ns._home ns.t.a._retry ns.t.a._retry"]
    );
    let single = |name| argument(find(&stages, "queue", name), "x-single-active-consumer");
    assert_eq!(single("ns.t.a._1"), Some(&AMQPValue::Boolean(true)));
    assert_eq!(single("ns.t.a._retry"), None);
}

#[test]
fn a_group_with_subjects_gets_those_only() {
    let mut spec = topic("t", &["a"]);
    spec.groups[0].subjects = vec!["order.*".parse().unwrap(), "eu.#".parse().unwrap()];
    assert_eq!(
        bindings(&made(vec![spec.clone()]))[..2],
        ["ns.t ns.t.a order.*", "ns.t ns.t.a eu.#"]
    );
    let of_partition = bindings(&made(vec![ordered(spec, 1)]));
    assert_eq!(of_partition[..2], ["ns.t ns.t.a._0 0.order.*", "ns.t ns.t.a._0 0.eu.#"]);
}

#[test]
fn what_is_published_with_a_routing_key_reaches_groups_that_want_some_subjects() {
    let mut spec = with_table(topic("t", &["a"]), "routing_key = 'legacy'");
    spec.groups[0].subjects = vec!["order.*".parse().unwrap()];
    assert_eq!(bindings(&made(vec![spec.clone()]))[0], "ns.t ns.t.a #");
    assert_eq!(bindings(&made(vec![ordered(spec, 1)]))[0], "ns.t ns.t.a._0 0.#");
}

#[test]
fn a_limit_is_the_main_queues_alone_and_refuses() {
    let mut spec = queue("q");
    spec.max_bytes = Some(1000);
    let stages = made(vec![spec]);
    let main = find(&stages, "queue", "ns.q");
    assert_eq!(argument(main, "x-max-length-bytes"), Some(&AMQPValue::LongLongInt(1000)));
    assert_eq!(argument(main, "x-overflow"), Some(&AMQPValue::LongString("reject-publish".into())));
    let inbox = find(&stages, "queue", "ns.q._retry");
    assert_eq!(argument(inbox, "x-max-length-bytes"), None);
}

#[test]
fn no_queue_drops_a_message_that_was_delivered_often() {
    let stages = made(vec![queue("q"), ordered(topic("t", &["a"]), 2)]);
    for object in stages.iter().flat_map(|stage| &stage.queues) {
        assert_eq!(argument(object, "x-delivery-limit"), Some(&AMQPValue::LongLongInt(-1)));
    }
}

#[test]
fn arguments_do_not_follow_from_what_consumers_ask_for() {
    let mut patient = queue("q");
    patient.groups[0].max_delay = Some(Duration::from_secs(3600));
    let (hasty, patient) = (made(vec![queue("q")]), made(vec![patient]));
    for object in hasty.iter().flat_map(Stage::objects) {
        let same = find(&patient, object.shape.word(), object.name.as_str());
        assert_eq!(object.arguments, same.arguments, "{}", object.name);
    }
    assert!(patient[0].queues.len() > hasty[0].queues.len());
}

#[test]
fn what_is_somebody_elses_is_bound_to_what_is_ours() {
    let stages = made(vec![
        with_table(queue("q"), "exchange = 'legacy'\nrouting_key = 'order'"),
        with_table(topic("t", &["a", "b"]), "groups.a = 'legacy.a'"),
        with_table(queue("both"), "exchange = 'legacy.x'\nqueue = 'legacy.q'"),
    ]);
    assert!(find(&stages, "exchange", "legacy").is_bound);
    assert!(find(&stages, "queue", "legacy.a").is_bound);
    let bindings = bindings(&stages);
    assert!(bindings.contains(&"legacy ns.q order".to_owned()), "{bindings:?}");
    assert!(bindings.contains(&"ns.t legacy.a #".to_owned()), "{bindings:?}");
    assert!(!bindings.iter().any(|binding| binding.contains("legacy.q")), "{bindings:?}");
}

#[test]
fn what_catches_the_lost_comes_before_what_can_lose() {
    let stages = made(vec![queue("q"), ordered(queue("o"), 2)]);
    let order: Vec<_> = stages.iter().flat_map(Stage::objects).collect();
    let place = |kind, name: &str| {
        order.iter().position(|o| o.shape.word() == kind && o.name.as_str() == name).unwrap()
    };
    assert!(place("exchange", "ns._homeless") < place("exchange", "ns.q"));
    assert!(place("exchange", "ns.o._of.2") < place("exchange", "ns.o"));
    assert!(place("queue", "ns.q") < place("exchange", "ns.q"));
    let unique: HashSet<_> = order.iter().map(|o| (o.shape.word(), &o.name)).collect();
    assert_eq!(unique.len(), order.len());
}
