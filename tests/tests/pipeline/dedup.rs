//! Deduplication: one effect per message within a window, and never a message lost to it.

use std::time::Duration;

use polymq_core::broker::{Destination, Send};
use polymq_core::dedup::{Claim, ClaimRequest, DedupKey, DedupStore, Held};
use polymq_core::model::hop;
use polymq_core::{
    ChannelName, Context, ErrorKind, GroupName, HandlerError, Message, MessageId, Running, Service,
};
use polymq_testkit::faults::PublishFault;
use polymq_tests::bed::{
    Bed, Log, Order, depth, mailer, order, seconds, tally, until_handled, until_state,
};

const DEDUP: &str = "dedup = { store = 'shared', window = '1h' }\n\
                     retry = { immediate = 0, delayed = 3, base = '10s', jitter = 'none' }";

/// Logs attempts by id; fails the attempts below `good`.
fn logging(good: u32, seen: &Log<(String, u32)>) -> Service<()> {
    let seen = seen.clone();
    Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
        seen.push((ctx.id().to_string(), ctx.attempt()));
        let attempt = ctx.attempt();
        async move { if attempt < good { Err("not yet".into()) } else { Ok(()) } }
    })
}

fn input(id: &str) -> Message {
    Message::of(&order(1)).unwrap().with_id(id)
}

async fn publish(running: &Running, message: Message) {
    running.publisher().publish_message("orders", message).await.unwrap();
}

fn key(id: &str) -> DedupKey {
    let (channel, group) = (ChannelName::new("orders"), GroupName::new("orders"));
    DedupKey::new(&channel.unwrap(), &group.unwrap(), id, 0)
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_within_the_window_is_acked_unhandled() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), logging(1, &seen)).await;
    publish(&running, input("a")).await;
    until_handled(&running, "mailer", 1).await;
    seconds(3500).await;
    publish(&running, input("a")).await;
    publish(&running, input("b")).await;
    until_state(&running, "mailer", "deduplicated", |s| s.tally.duplicates == 1).await;
    until_handled(&running, "mailer", 2).await;
    assert_eq!(seen.all(), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn after_the_window_the_same_id_is_handled_again() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), logging(1, &seen)).await;
    publish(&running, input("a")).await;
    until_handled(&running, "mailer", 1).await;
    seconds(3601).await;
    publish(&running, input("a")).await;
    until_handled(&running, "mailer", 2).await;
}

#[tokio::test(start_paused = true)]
async fn many_duplicates_at_once_have_one_effect() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), logging(1, &seen)).await;
    let batch = (0..50).map(|i| input(if i % 2 == 0 { "a" } else { "b" }));
    running.publisher().publish_all("orders", batch).await.unwrap();
    until_state(&running, "mailer", "done", |s| s.tally.duplicates == 48).await;
    assert_eq!(seen.len(), 2);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_message_are_no_duplicates_of_it() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), logging(3, &seen)).await;
    publish(&running, input("a")).await;
    until_handled(&running, "mailer", 1).await;
    let attempts: Vec<_> = seen.all().into_iter().map(|(_, attempt)| attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(tally(&running, "mailer").duplicates, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_lettered_message_counts_as_handled() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer("dedup = { store = 'shared' }\nretry = { immediate = 0, delayed = 0 }");
    let running = bed.start_with(&bed.empty_store(), &text, logging(9, &seen)).await;
    publish(&running, input("a")).await;
    publish(&running, input("a")).await;
    until_state(&running, "mailer", "done", |s| s.tally.duplicates == 1).await;
    assert_eq!(tally(&running, "mailer").dead_letters(), 1);
    assert_eq!(seen.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_groups_of_a_topic_both_handle_the_same_id() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = r#"
        [broker]
        url = "memory://"
        [channels.orders]
        kind = "topic"
        [consumers.mailer]
        channel = "orders"
        dedup = { store = "shared" }
        [consumers.printer]
        channel = "orders"
        dedup = { store = "shared" }
    "#;
    let other = seen.clone();
    let service = logging(1, &seen).on("printer", move |_: Order, ctx: Context<()>| {
        other.push((ctx.consumer().to_string(), ctx.attempt()));
        async { Ok::<(), HandlerError>(()) }
    });
    let running = bed.start_with(&bed.empty_store(), text, service).await;
    publish(&running, input("a")).await;
    until_handled(&running, "mailer", 1).await;
    until_handled(&running, "printer", 1).await;
    assert_eq!(seen.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_claimed_elsewhere_is_waited_for_and_acked_once_it_was_committed() {
    let (bed, seen) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let lease = Duration::from_secs(30);
    let request = ClaimRequest { key: key("a"), attempt: 1, lease };
    let Claim::Granted(fence) = store.claim(&[request]).await.unwrap()[0] else { panic!() };
    let held = [Held { key: key("a"), fence }];
    let running = bed.start_with(&store, &mailer(DEDUP), logging(1, &seen)).await;
    publish(&running, input("a")).await;
    publish(&running, input("b")).await;
    until_handled(&running, "mailer", 1).await;
    seconds(20).await;
    assert_eq!(depth(&running, "orders").await, 1, "never acked unseen");
    store.commit(&held, Duration::from_secs(3600)).await.unwrap();
    until_state(&running, "mailer", "deduplicated", |s| s.tally.duplicates == 1).await;
    assert_eq!(seen.all(), [("b".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_died_with_its_process_runs_out_and_spends_no_attempt() {
    let (bed, seen) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let lease = Duration::from_secs(30);
    let request = ClaimRequest { key: key("a"), attempt: 1, lease };
    store.claim(&[request]).await.unwrap();
    let running = bed.start_with(&store, &mailer(DEDUP), logging(1, &seen)).await;
    let begin = tokio::time::Instant::now();
    publish(&running, input("a")).await;
    until_handled(&running, "mailer", 1).await;
    assert!(begin.elapsed() >= Duration::from_secs(29), "{:?}", begin.elapsed());
    assert!(begin.elapsed() <= Duration::from_secs(31), "{:?}", begin.elapsed());
    assert_eq!(seen.all(), [("a".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_leftover_of_a_crash_between_copy_and_ack_is_superseded() {
    // The process dies at each point on the way of a failing attempt. Whoever follows must neither
    // lose the message nor start a second chain of retries.
    let mut point = 0;
    loop {
        point += 1;
        let (bed, seen) = (Bed::default(), Log::default());
        let store = bed.empty_store();
        bed.faults.crash_at(point);
        let victim = bed.start_with(&store, &mailer(DEDUP), logging(2, &seen)).await;
        let heir = bed.another_process();
        let publisher = heir.start_with(&store, &mailer(DEDUP), Service::new(())).await;
        publish(&publisher, input("a")).await;
        seconds(5).await;
        if !bed.faults.is_crashed() {
            assert!(point > 5, "there is something to crash at");
            return;
        }
        drop(victim);
        let running = heir.start_with(&store, &mailer(DEDUP), logging(2, &seen)).await;
        seconds(300).await;
        let points = bed.faults.crash_points();
        assert_eq!(depth(&running, "orders").await, 0, "{points:?}");
        let seconds = seen.all().iter().filter(|(_, attempt)| *attempt == 2).count();
        assert_eq!(seconds, 1, "one chain: {:?} {points:?}", seen.all());
        assert_eq!(tally(&running, "mailer").handled, 1, "{points:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_copy_that_was_made_twice_is_handled_once() {
    let (bed, seen) = (Bed::default(), Log::default());
    let to_inbox = |send: &Send| matches!(send.destination, Destination::RetryInbox { .. });
    bed.faults.fail_publish(to_inbox, PublishFault::Unconfirmed(ErrorKind::Timeout)).times(1);
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), logging(2, &seen)).await;
    publish(&running, input("a")).await;
    until_state(&running, "mailer", "done", |s| s.tally.duplicates == 1).await;
    let attempts: Vec<_> = seen.all().into_iter().map(|(_, attempt)| attempt).collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_function_replaces_the_id_and_may_fall_back_to_it() {
    let (bed, seen) = (Bed::default(), Log::default());
    let service = logging(1, &seen)
        .dedup_key("mailer", |message| message.headers().get_str("request").map(str::to_owned));
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), service).await;
    for (id, request) in [("a", Some("r1")), ("b", Some("r1")), ("c", None), ("c", None)] {
        let message = match request {
            Some(request) => input(id).with_header("request", request),
            None => input(id),
        };
        publish(&running, message).await;
        seconds(1).await;
    }
    until_state(&running, "mailer", "done", |s| s.tally.duplicates == 2).await;
    let ids: Vec<_> = seen.all().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_from_a_dead_letter_channel_is_no_duplicate() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), logging(1, &seen)).await;
    publish(&running, input("a")).await;
    until_handled(&running, "mailer", 1).await;
    let mut replayed = input("a");
    replayed.headers_mut().insert(hop::REPLAY, "1");
    let (channel, group) = (ChannelName::new("orders").unwrap(), GroupName::new("orders").unwrap());
    let send = Send::new(Destination::RetryInbox { channel, group }, replayed);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let broker = running.broker_of("orders").unwrap();
    assert!(broker.publish(vec![send], deadline).await[0].is_confirmed());
    until_handled(&running, "mailer", 2).await;
    assert_eq!(seen.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_message_without_an_id_gets_one_from_its_position() {
    let (bed, seen) = (Bed::default(), Log::default());
    let running = bed.start_with(&bed.empty_store(), &mailer(DEDUP), logging(2, &seen)).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let broker = running.broker_of("orders").unwrap();
    let destination = Destination::Channel(ChannelName::new("orders").unwrap());
    let message = Message::of(&order(1)).unwrap();
    let sends =
        vec![Send::new(destination.clone(), message.clone()), Send::new(destination, message)];
    broker.publish(sends, deadline).await;
    until_handled(&running, "mailer", 2).await;
    let all = seen.all();
    let ids: std::collections::BTreeSet<_> = all.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), 2, "the same over its retries, another one per message: {all:?}");
    assert_eq!(all.len(), 4);
    assert!(ids.iter().all(|id| MessageId::new(id).is_some()));
}
