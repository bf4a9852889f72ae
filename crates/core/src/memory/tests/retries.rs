use super::*;
use crate::Clock;
use crate::broker::Capability;
use crate::model::{Origin, Timestamp};

fn later(seconds: u64) -> Timestamp {
    VirtualClock::default().now() + secs(seconds)
}

fn retry_at(payload: &str, at: Timestamp) -> Send {
    let mut send = retry("q", "q", payload);
    send.at = Some(at);
    send
}

#[tokio::test(start_paused = true)]
async fn a_retry_wakes_a_waiting_consumer_when_it_is_due_and_not_before() {
    let (_, broker) = with_queue().await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let start = Instant::now();
    let waiting = tokio::spawn(async move { consumer.recv(9).await.unwrap() });
    tokio::task::yield_now().await;
    let sends = [retry_at("late", later(90)), retry_at("soon", later(60))];
    assert!(publish(&broker, sends).await.iter().all(Outcome::is_confirmed));
    let inbox = Source::RetryInbox { channel: channel("q"), group: group("q") };
    let depth = broker.admin().depth(&inbox).await.unwrap();
    assert_eq!((depth.ready, depth.delayed), (0, Some(2)));
    let got = waiting.await.unwrap();
    assert_eq!(payloads(&got), ["soon"]);
    assert_eq!(got[0].origin, Origin::RetryInbox);
    let waited = start.elapsed();
    assert!(waited >= secs(60) && waited < secs(60) + Duration::from_millis(10), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn every_waiting_consumer_knows_when_the_next_retry_is_due() {
    let (_, broker) = with_queue().await;
    let (a, b) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    let (woken, waits) = (waiting(&a, 9).await, waiting(&b, 9).await);
    let start = Instant::now();
    publish(&broker, [retry_at("r", later(10))]).await;
    tokio::time::sleep(secs(1)).await;
    woken.abort();
    assert_eq!(waits.await.unwrap(), ["r"]);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn neither_source_starves_the_other() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["c"; 40]).await;
    publish(&broker, (0..40).map(|_| retry("q", "q", "r"))).await;
    let consumer = consume(&broker, "q", "q", 100).await;
    for max in [1, 3, 8] {
        let mut got = consumer.recv(max).await.unwrap();
        got.extend(consumer.recv(max).await.unwrap());
        let retries = got.iter().filter(|d| d.origin == Origin::RetryInbox).count();
        assert_eq!((got.len(), retries), (2 * max, max));
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_in_hand_of_a_crashed_consumer_comes_again() {
    let (server, broker) = with_queue().await;
    publish(&broker, [retry("q", "q", "r")]).await;
    let crashed = consume(&broker, "q", "q", 9).await;
    crashed.recv(1).await.unwrap();
    drop(crashed);
    let next = consume(&broker, "q", "q", 9).await;
    let got = next.recv(1).await.unwrap();
    assert_eq!((got[0].delivery_count, got[0].origin), (Some(2), Origin::RetryInbox));
    ack(&next, &got).await;
    assert_eq!(server.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_above_the_ceiling_ends_early_at_the_ceiling() {
    let (_, broker) = with_options(MemoryOptions::default().with_max_delay(secs(10))).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let start = Instant::now();
    publish(&broker, [retry_at("r", later(60))]).await;
    consumer.recv(1).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_ever_overflows_nothing() {
    let (_, broker) = with_queue().await;
    let outcomes = publish(&broker, [retry_at("r", Timestamp::from_millis(u64::MAX))]).await;
    assert!(outcomes[0].is_confirmed());
    let consumer = consume(&broker, "q", "q", 9).await;
    let waited = tokio::time::timeout(secs(1_000_000), consumer.recv(1)).await;
    assert!(waited.is_err());
}

#[tokio::test(start_paused = true)]
async fn only_retry_inboxes_delay_and_only_where_the_broker_can() {
    let (_, broker) = with_queue().await;
    let mut direct = send("q", "1");
    direct.at = Some(later(1));
    assert_eq!(kind(&publish(&broker, [direct]).await[0]), Some(ErrorKind::Unsupported));
    let lacking = MemoryOptions::default().without(Capability::DelayedRetry);
    let (_, broker) = with_options(lacking).await;
    let outcomes = publish(&broker, [retry_at("r", later(1)), retry("q", "q", "now")]).await;
    assert_eq!(kind(&outcomes[0]), Some(ErrorKind::Unsupported));
    assert!(outcomes[1].is_confirmed());
}
