use super::*;
use crate::broker::Event;

async fn with_lease() -> Arc<dyn Broker> {
    with_options(MemoryOptions::default().with_lease(secs(5))).await.1
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_lease_ends_wakes_another_consumer_at_that_moment() {
    let broker = with_lease().await;
    publish_all(&broker, &["1", "2"]).await;
    let (slow, other) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    let mut events = slow.events();
    let start = Instant::now();
    let held = slow.recv(2).await.unwrap();
    let again = other.recv(9).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(payloads(&again), ["1", "2"]);
    assert_eq!((again[0].delivery_count, again[0].redelivered), (Some(2), true));
    events.recv().await;
    let Some(Event::LeaseLost { tokens: lost }) = events.recv().await else {
        panic!("the consumer is told");
    };
    assert_eq!(lost, tokens(&held));
}

#[tokio::test(start_paused = true)]
async fn a_recv_that_waited_before_the_hand_out_notices_its_lost_lease() {
    let broker = with_lease().await;
    let slow = consume(&broker, "q", "q", 9).await;
    let idle = consume(&broker, "q", "q", 9).await;
    let (taken, waits) = (waiting(&slow, 9).await, waiting(&idle, 9).await);
    tokio::time::sleep(secs(1)).await;
    publish_all(&broker, &["1"]).await;
    assert_eq!(promptly(taken).await, ["1"]);
    let start = Instant::now();
    assert_eq!(waits.await.unwrap(), ["1"]);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_after_the_lease_is_stale_even_when_nobody_noticed() {
    let broker = with_lease().await;
    publish_all(&broker, &["1"]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let got = consumer.recv(1).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    let results = consumer.settle(&[(got[0].token, Settlement::Ack)], deadline()).await;
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::StaleToken);
    assert_eq!(depth(&broker, "q", "q").await.ready, 1);
}

#[tokio::test(start_paused = true)]
async fn an_extended_lease_holds_and_only_that_one() {
    let broker = with_lease().await;
    publish_all(&broker, &["1", "2"]).await;
    let (slow, other) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    let held = slow.recv(2).await.unwrap();
    tokio::time::sleep(secs(3)).await;
    assert!(slow.extend(&[held[0].token], deadline()).await[0].is_ok());
    tokio::time::sleep(secs(3)).await;
    assert_eq!(payloads(&try_recv(&other, 9).await), ["2"]);
    ack(&slow, &held[..1]).await;
}

#[tokio::test(start_paused = true)]
async fn leases_that_end_make_room_under_the_prefetch() {
    let broker = with_lease().await;
    publish_all(&broker, &["1", "2"]).await;
    publish(&broker, [retry("q", "q", "due")]).await;
    let consumer = consume(&broker, "q", "q", 1).await;
    let start = Instant::now();
    let _held = consumer.recv(1).await.unwrap();
    assert_eq!(consumer.recv(1).await.unwrap().len(), 1);
    assert_eq!(start.elapsed().as_secs(), 5);
}
