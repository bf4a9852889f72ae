use super::*;
use crate::broker::StartPosition;

const QUEUE: &str = "[channels.q]\nkind = 'queue'\n[channels.t]\nkind = 'topic'\n";

fn consumer(text: &str) -> ConsumerConfig {
    let config = good(&format!("{QUEUE}[consumers.c]\nchannel = 't'\n{text}"));
    config.consumers["c"].clone()
}

/// The text begins on line 9.
fn wrong(text: &str) -> Vec<String> {
    problems(&format!("{QUEUE}[consumers.c]\nchannel = 't'\n{text}"))
}

#[test]
fn a_consumer_is_read_with_all_its_keys() {
    let c = consumer(
        "group = 'g'\noutputs = ['q']\nconcurrency = 300\ntimeout = '10s'\nmax_lease = '10m'\n\
         max_deliveries = 5\nack = 'after'\nunknown_type = 'fail'\nexpired = 'dead-letter'\n\
         start = 2026-01-01T00:00:00Z\ndead_letter = 'd'\n\
         retry = { immediate = 1, delayed = 4, backoff = 'linear', base = '2s', max = '1m', \
         jitter = 'equal', max_elapsed = '1h', limits = { timeout = 2 } }\n\
         dedup = { store = 's', window = '1h', lease = '5s', on_store_failure = 'pass' }\n\
         breaker = { failure_rate = 1, minimum = 5, window = '1m', open = '5s' }\n\
         batch = { max = 700, linger = '0s' }",
    );
    assert_eq!((c.group.as_str(), c.dead_letter.as_str()), ("g", "d"));
    assert_eq!((c.concurrency, c.prefetch, c.max_deliveries), (300, 700, 5));
    assert_eq!(c.timeout, Duration::from_secs(10));
    assert_eq!(c.max_lease, Duration::from_secs(600));
    assert_eq!(c.unknown_type, UnknownType::Fail);
    assert_eq!(c.expired, ExpiredPolicy::DeadLetter);
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(c.start, StartPosition::Timestamp(start));
    assert_eq!(
        c.retry,
        RetryPolicy {
            immediate: 1,
            delayed: 4,
            backoff: Backoff::Linear,
            base: Duration::from_secs(2),
            max: Duration::from_secs(60),
            jitter: Jitter::Equal,
            max_elapsed: Some(Duration::from_secs(3600)),
            limits: [("timeout".to_owned(), 2)].into(),
        }
    );
    let dedup = c.dedup.unwrap();
    assert_eq!((dedup.store.as_str(), dedup.lease), ("s", Duration::from_secs(5)));
    assert_eq!(dedup.on_store_failure, StoreFailure::Pass);
    let breaker = c.breaker.unwrap();
    assert_eq!((breaker.failure_rate, breaker.minimum), (1.0, 5));
    assert_eq!((c.batch.max, c.batch.linger), (700, Duration::ZERO));
}

#[test]
fn subjects_are_patterns_of_a_topics_group() {
    let c = consumer("subjects = ['orders.*.placed', 'eu.#']");
    let shown: Vec<_> = c.subjects.iter().map(|p| p.as_str()).collect();
    assert_eq!(shown, ["orders.*.placed", "eu.#"]);
    assert_eq!(consumer("subjects = 'eu.#'").subjects.len(), 1);
    let found = wrong("subjects = ['eu.#', '#.placed']");
    assert!(found[0].contains("`#.placed` has `#` before its end"), "{found:?}");
}

#[test]
fn a_queue_has_no_subjects_to_choose_from() {
    let found = problems(&format!("{QUEUE}[consumers.c]\nchannel = 'q'\nsubjects = ['a']"));
    assert!(found[0].contains("would be lost"), "{found:?}");
}

#[test]
fn the_consumers_of_a_group_want_the_same_subjects() {
    let found = wrong(
        "group = 'g'\nsubjects = 'a'\n[consumers.d]\nchannel = 't'\ngroup = 'g'\n\
         dead_letter = 'c-dead'",
    );
    assert!(found.iter().any(|p| p.contains("give both the same `subjects`")), "{found:?}");
}

#[test]
fn a_topics_group_is_the_consumer_and_a_queues_group_is_the_queue() {
    assert_eq!(consumer("").group, "c");
    let config = good(&format!("{QUEUE}[consumers.c]\nchannel = 'q'"));
    assert_eq!(config.consumers["c"].group, "q");
    assert_eq!(
        problems(&format!("{QUEUE}[consumers.c]\nchannel = 'q'\ngroup = 'c'")),
        ["p.toml:9:1: consumers.c.group: the queue `q` has one group, which carries its name; \
             fix: remove `group`, or make the channel a topic"]
    );
}

#[test]
fn quantities_that_cannot_work_together_are_refused() {
    assert_eq!(
        wrong("concurrency = 10\nprefetch = 5\nbatch.max = 6\ntimeout = '2h'"),
        [
            "p.toml:10:1: consumers.c.prefetch: 5 is less than `concurrency`, 10: handlers would \
             idle; fix: raise it, or lower `concurrency`",
            "p.toml:10:1: consumers.c.prefetch: 5 is less than `batch.max`, 6: no batch would \
             fill; fix: raise it, or lower `batch.max`",
            "p.toml:12:1: consumers.c.timeout: an attempt may take longer (`timeout`) than its \
             message is held (`max_lease`); fix: lower `timeout` or raise `max_lease`",
        ]
    );
}

#[test]
fn values_that_no_type_accepts_say_what_would_do() {
    assert_eq!(
        wrong("timeout = '10 parsecs'\nstart = 'monday'\nack = 'never'\nretry = 3\nchanel = 1"),
        [
            "p.toml:9:1: consumers.c.timeout: `10 parsecs` is not a duration; fix: write a number \
             and a unit, such as \"250ms\", \"30s\", \"5m\" or \"7d\"",
            "p.toml:10:1: consumers.c.start: `monday` is not a moment in RFC 3339, such as \
             2026-01-01T00:00:00Z; fix: use \"latest\", \"earliest\" or a moment in RFC 3339",
            "p.toml:11:1: consumers.c.ack: unknown value \"never\"; fix: use \"after\" or \
             \"before\"",
            "p.toml:12:1: consumers.c.retry: expected a table, found an integer",
            "p.toml:13:1: consumers.c.chanel: unknown key; did you mean `channel`?",
        ]
    );
}

#[test]
fn deduplication_needs_the_ack_after() {
    assert_eq!(
        wrong("ack = 'before'\ndedup = { lease = '2d' }"),
        [
            "p.toml:10:1: consumers.c.dedup: deduplication commits after handling, but `ack = \
             \"before\"` acks earlier; fix: remove `dedup`, or use ack = \"after\"",
            "p.toml:10:11: consumers.c.dedup.lease: a claim (`lease`) outlives what is remembered \
             (`window`); fix: lower `lease` or raise `window`",
        ]
    );
}

#[test]
fn a_store_in_memory_before_a_real_broker_is_warned_about() {
    let text = format!("{QUEUE}[consumers.c]\nchannel = 't'\ndedup = {{ store = 'memory' }}");
    assert_eq!(good(&text).warnings, []);
    let config = build(&format!("[broker]\nurl = 'fake://h'\n{text}")).build();
    assert_eq!(
        warnings(&config.unwrap()),
        ["p.toml:9:11: consumers.c.dedup.store: the store `memory` forgets on restart, and \
             isn't shared by processes; fix: register a store that is, or accept duplicates after \
             a restart"]
    );
}

#[test]
fn consumers_of_one_group_that_contradict_each_other_are_both_named() {
    let found = problems(&format!(
        "{QUEUE}[consumers.a]\nchannel = 'q'\ndead_letter = 'd'\n\
         [consumers.b]\nchannel = 'q'\ndead_letter = 'd'\nack = 'before'\nretry.delayed = 1\n\
         [consumers.c]\nchannel = 'q'\n\
         [consumers.x]\nchannel = 't'\n[consumers.y]\nchannel = 't'\nexpired = 'dead-letter'\n"
    ));
    assert_eq!(
        found,
        [
            "p.toml:13:1: consumers.b.ack: differs from the consumer `a`, which shares the group \
             `q` of `q`; fix: give both the same `ack`",
            "p.toml:14:1: consumers.b.retry: differs from the consumer `a`, which shares the group \
             `q` of `q`; fix: give both the same `retry`",
            "p.toml:15:12: consumers.c.dead_letter: differs from the consumer `a`, which shares \
             the group `q` of `q`; fix: give both the same `dead_letter`",
        ]
    );
}

#[test]
fn a_consumer_whose_default_dead_letter_channel_has_too_long_a_name_must_name_one() {
    let name = "c".repeat(44);
    assert_eq!(
        problems(&format!("{QUEUE}[consumers.{name}]\nchannel = 't'")),
        [format!(
            "p.toml:7:12: consumers.{name}.dead_letter: the default, the group's name and \
             `-dead`, is longer than 48 characters; fix: set `dead_letter`"
        )]
    );
}

#[test]
fn the_rest_of_a_consumer_without_a_channel_is_checked_all_the_same() {
    assert_eq!(
        problems("[consumers.c]\noutputs = 'nowhere'\nretry.delayed = -1"),
        [
            "p.toml:3:12: consumers.c.channel: missing; fix: name the channel that it consumes",
            "p.toml:4:1: consumers.c.outputs: no channel is called `nowhere`; fix: declare it: \
             [channels.nowhere]",
            "p.toml:5:7: consumers.c.retry.delayed: -1 is out of range; fix: use 0 to 10000",
        ]
    );
}

#[test]
fn an_output_is_a_declared_channel_and_not_the_consumers_own() {
    assert_eq!(
        wrong("outputs = ['A', 't', 'nowhere']"),
        [
            "p.toml:9:12: consumers.c.outputs[0]: the channel name `A` does not start with a \
             lowercase letter; fix: names match [a-z][a-z0-9-]* and are at most 48 characters long",
            "p.toml:9:17: consumers.c.outputs[1]: `t` is the channel that the consumer consumes; \
             fix: name another channel",
            "p.toml:9:22: consumers.c.outputs[2]: no channel is called `nowhere`; fix: use one of \
             q, t",
        ]
    );
}

#[test]
fn a_small_prefetch_is_fine_without_a_batch_table() {
    let c = consumer("concurrency = 10\nprefetch = 50");
    assert_eq!((c.prefetch, c.batch.max), (50, 50));
    assert_eq!(consumer("concurrency = 1000").prefetch, 2000);
}

#[test]
fn a_start_on_a_queue_is_warned_about() {
    let config = good(&format!("{QUEUE}[consumers.c]\nchannel = 'q'\nstart = 'earliest'"));
    assert_eq!(
        warnings(&config),
        ["p.toml:9:1: consumers.c.start: a queue has no start: its consumers share what is \
             there; fix: remove `start`, or make the channel a topic"]
    );
}

#[test]
fn delays_in_the_process_must_fit_into_the_lease() {
    let consumer = |retry: &str| {
        format!(
            "[channels.o]\nkind = 'queue'\norder_by = 'key'\n\
             [consumers.c]\nchannel = 'o'\nmax_lease = '10m'\nretry = {{ {retry} }}"
        )
    };
    let found = problems(&consumer("delayed = 20, max = '1m'"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains(
            "consumers.c.retry: on an ordered channel delays are waited in the process: up to 15m \
             3s in all, but `max_lease` is 10m; fix: raise `max_lease`"
        ),
        "{found:?}"
    );
    good(&consumer("delayed = 20, max = '1m', max_elapsed = '9m'"));
}
