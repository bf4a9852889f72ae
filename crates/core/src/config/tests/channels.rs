use super::*;
use crate::broker::{ChannelKind, ChannelRole, StartPosition};

#[test]
fn a_channel_is_read_with_all_its_keys() {
    let config = good(
        "[channels.orders]\nkind = 'topic'\norder_by = 'key'\npartitions = 3\nretention = '7d'\n\
         max_bytes = '64MiB'\nreplicas = 3\nfake.limit = 7\nkafka.topic = 'x'",
    );
    let channel = &config.channels["orders"];
    assert_eq!((channel.kind, channel.ordered), (ChannelKind::Topic, true));
    assert_eq!((channel.partitions, channel.replicas), (3, Some(3)));
    assert_eq!(channel.max_bytes, Some(64 << 20));
    assert_eq!(channel.retention, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(channel.broker, "default");
    let topology = config.topology_of("default", "fake");
    let spec = topology.channel("orders").unwrap();
    assert_eq!(spec.settings, Settings::from_toml("limit = 7").unwrap());
}

#[test]
fn a_channel_names_one_of_several_brokers() {
    let text = "[brokers.east]\nurl = 'memory://'\n[brokers.west]\nurl = 'memory://'\n\
                [channels.a]\nkind = 'queue'\n[channels.b]\nkind = 'queue'\nbroker = 'wets'\n";
    assert_eq!(
        all_problems(text),
        [
            "p.toml:5:11: channels.a.broker: missing, and there are several brokers; fix: add \
             broker = \"…\", one of east, west",
            "p.toml:9:1: channels.b.broker: no broker is called `wets`; did you mean `west`?",
        ]
    );
}

#[test]
fn a_dead_letter_channel_is_implied_on_the_broker_of_the_consumers_channel() {
    let text = "[brokers.east]\nurl = 'memory://'\n[brokers.west]\nurl = 'memory://'\n\
                [channels.a]\nkind = 'topic'\nbroker = 'west'\n[consumers.c]\nchannel = 'a'\n";
    let config = build(text).build().unwrap();
    let implied = &config.channels["c-dead"];
    assert_eq!(implied.broker, "west");
    assert_eq!(implied.kind, ChannelKind::Queue);
    assert_eq!(implied.role, ChannelRole::DeadLetter);
}

#[test]
fn a_declared_dead_letter_channel_is_an_unordered_queue() {
    let config = good(
        "[channels.a]\nkind = 'queue'\n[channels.d]\nkind = 'queue'\n\
         [consumers.c]\nchannel = 'a'\ndead_letter = 'd'",
    );
    assert_eq!(config.channels["d"].role, ChannelRole::DeadLetter);
    assert_eq!(
        problems(
            "[channels.a]\nkind = 'queue'\n[channels.d]\nkind = 'topic'\norder_by = 'key'\n\
             [consumers.c]\nchannel = 'a'\ndead_letter = 'd'",
        ),
        [
            "p.toml:7:1: channels.d.order_by: a dead-letter channel is not ordered (consumer `c` \
             dead-letters to it); fix: remove `order_by`",
            "p.toml:10:1: consumers.c.dead_letter: the dead-letter channel `d` is a topic: without \
             a group it would lose what it is given; fix: make `d` a queue, or name a queue",
        ]
    );
}

#[test]
fn a_consumer_cannot_dead_letter_to_its_own_channel() {
    assert_eq!(
        problems("[channels.a]\nkind = 'queue'\n[consumers.c]\nchannel = 'a'\ndead_letter = 'a'"),
        ["p.toml:7:1: consumers.c.dead_letter: `a` is the channel that the consumer consumes; \
             fix: name another channel"]
    );
}

#[test]
fn an_implied_dead_letter_channel_that_resembles_a_declared_one_is_warned_about() {
    let config = good(
        "[channels.a]\nkind = 'queue'\n[channels.emails-dead]\nkind = 'queue'\n\
         [consumers.c]\nchannel = 'a'\ndead_letter = 'email-dead'",
    );
    assert_eq!(
        warnings(&config),
        ["p.toml:9:1: consumers.c.dead_letter: `email-dead` is not declared, and so implied; did \
             you mean `emails-dead`?; fix: declare it: [channels.email-dead]"]
    );
}

#[test]
fn the_topology_holds_the_groups_of_the_consumers_and_their_longest_delay() {
    let config = good(
        "[channels.a]\nkind = 'topic'\n[channels.o]\nkind = 'queue'\norder_by = 'key'\n\
         [consumers.x]\nchannel = 'a'\nstart = 'earliest'\nretry = { delayed = 3, base = '1s' }\n\
         [consumers.y]\nchannel = 'a'\ngroup = 'g'\nretry.delayed = 0\n\
         [consumers.z]\nchannel = 'o'",
    );
    let topology = config.topology_of("default", "memory");
    let names: Vec<_> = topology.channels.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "g-dead", "o", "o-dead", "x-dead"]);
    let groups: Vec<_> = topology
        .channels
        .iter()
        .flat_map(|c| &c.groups)
        .map(|g| (g.name.as_str(), g.start, g.max_delay.map(|d| d.as_secs())))
        .collect();
    assert_eq!(
        groups,
        [
            ("x", StartPosition::Earliest, Some(4)),
            ("g", StartPosition::Latest, Some(0)),
            ("g-dead", StartPosition::Latest, None),
            ("o", StartPosition::Latest, Some(0)),
            ("o-dead", StartPosition::Latest, None),
            ("x-dead", StartPosition::Latest, None),
        ]
    );
    assert!(config.topology_of("other", "memory").channels.is_empty());
}
