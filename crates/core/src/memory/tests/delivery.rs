use super::*;
use crate::broker::Event;
use crate::model::Position;

async fn pair(broker: &Arc<dyn Broker>, prefetch: usize) -> (Arc<dyn Consumer>, Arc<dyn Consumer>) {
    let first = consume(broker, "q", "q", prefetch).await;
    (first, consume(broker, "q", "q", prefetch).await)
}

#[tokio::test(start_paused = true)]
async fn a_queue_hands_each_message_to_one_consumer_intact_and_in_order() {
    let (server, broker) = with_queue().await;
    let message = Message::new(vec![0, 0xff]).with_header("grüße", vec![0xfe]).with_subject("s");
    let sends = [Send::new(Destination::Channel(channel("q")), message.clone()), send("q", "2")];
    let outcomes = publish(&broker, sends).await;
    let Outcome::Confirmed(confirmation) = &outcomes[1] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(confirmation.position, Some(Position { partition: 0, offset: 1 }));
    let (a, b) = pair(&broker, 9).await;
    let first = a.recv(1).await.unwrap();
    assert_eq!(first[0].message, message);
    assert_eq!((first[0].delivery_count, first[0].redelivered), (Some(1), false));
    let second = b.recv(9).await.unwrap();
    assert_eq!(payloads(&second), ["2"]);
    ack(&a, &first).await;
    ack(&b, &second).await;
    assert_eq!((depth(&broker, "q", "q").await.total(), server.used_bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn every_group_of_a_topic_gets_every_message() {
    let server = MemoryServer::default();
    let broker = connect(&server, vec![topic("t", &["a", "b"])]).await;
    publish(&broker, [send("t", "1"), send("t", "2")]).await;
    for of in ["a", "b"] {
        let consumer = consume(&broker, "t", of, 9).await;
        let got = consumer.recv(9).await.unwrap();
        assert_eq!(payloads(&got), ["1", "2"]);
        ack(&consumer, &got).await;
    }
    assert_eq!(server.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_without_groups_confirms_and_keeps_nothing() {
    let server = MemoryServer::default();
    let broker = connect(&server, vec![topic("t", &[])]).await;
    assert!(publish(&broker, [send("t", "1")]).await[0].is_confirmed());
    assert_eq!(server.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_recv_gets_what_is_published_later() {
    let (_, broker) = with_queue().await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let waits = waiting(&consumer, 9).await;
    publish_all(&broker, &["1"]).await;
    assert_eq!(promptly(waits).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_wakes_another_when_the_woken_recv_is_dropped() {
    let (_, broker) = with_queue().await;
    let (a, b) = pair(&broker, 9).await;
    let (dropped, waits) = (waiting(&a, 1).await, waiting(&b, 1).await);
    publish_all(&broker, &["1"]).await;
    dropped.abort();
    assert_eq!(promptly(waits).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn prefetch_holds_both_sources_together_until_a_settlement() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1", "2", "3"]).await;
    publish(&broker, [retry("q", "q", "r1"), retry("q", "q", "r2")]).await;
    let consumer = consume(&broker, "q", "q", 3).await;
    let got = consumer.recv(100).await.unwrap();
    assert_eq!(got.len(), 3);
    assert!(try_recv(&consumer, 100).await.is_empty());
    let waits = waiting(&consumer, 100).await;
    ack(&consumer, &got[..2]).await;
    assert_eq!(promptly(waits).await.len(), 2);
    assert_eq!(consumer.status().in_flight, 3);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_at_its_prefetch_does_not_swallow_wake_ups() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1"]).await;
    let (full, free) = pair(&broker, 1).await;
    let _held = full.recv(1).await.unwrap();
    // Uses up the wake-up that nobody waited for.
    assert!(try_recv(&free, 1).await.is_empty());
    let (_stuck, waits) = (waiting(&full, 1).await, waiting(&free, 1).await);
    publish_all(&broker, &["2"]).await;
    assert_eq!(promptly(waits).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_woken_consumer_that_was_paused_wakes_another() {
    let (_, broker) = with_queue().await;
    let (a, b) = pair(&broker, 9).await;
    let (_paused, waits) = (waiting(&a, 1).await, waiting(&b, 1).await);
    publish_all(&broker, &["1"]).await;
    a.pause();
    assert_eq!(promptly(waits).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_wakes_as_many_as_it_feeds() {
    let (_, broker) = with_queue().await;
    let (a, b) = pair(&broker, 9).await;
    let (first, second) = (waiting(&a, 1).await, waiting(&b, 1).await);
    publish_all(&broker, &["1", "2"]).await;
    assert_eq!(
        (promptly(first).await, promptly(second).await),
        (vec!["1".into()], vec!["2".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_recv_waits_for_the_first() {
    let (_, broker) = with_queue().await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let (first, second) = (waiting(&consumer, 1).await, waiting(&consumer, 1).await);
    publish_all(&broker, &["1", "2"]).await;
    assert_eq!(
        (promptly(first).await, promptly(second).await),
        (vec!["1".into()], vec!["2".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn a_released_delivery_comes_again_first_and_uncounted() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1", "2", "3"]).await;
    let consumer = consume(&broker, "q", "q", 2).await;
    let got = consumer.recv(2).await.unwrap();
    release(&consumer, &got).await;
    let again = consumer.recv(9).await.unwrap();
    assert_eq!(payloads(&again), ["1", "2"]);
    assert_eq!((again[0].delivery_count, again[0].redelivered), (Some(1), true));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_consumer_gives_everything_back_counted() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1", "2"]).await;
    let crashed = consume(&broker, "q", "q", 9).await;
    let other = consume(&broker, "q", "q", 9).await;
    assert_eq!(crashed.recv(9).await.unwrap().len(), 2);
    drop(crashed);
    let again = other.recv(9).await.unwrap();
    assert_eq!(payloads(&again), ["1", "2"]);
    assert_eq!((again[0].delivery_count, again[0].redelivered), (Some(2), true));
}

#[tokio::test(start_paused = true)]
async fn closing_a_consumer_gives_everything_back_and_ends_a_waiting_recv() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1"]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let got = consumer.recv(9).await.unwrap();
    let waiting = Arc::clone(&consumer);
    let waiting = tokio::spawn(async move { waiting.recv(9).await.unwrap_err().kind() });
    tokio::task::yield_now().await;
    consumer.close(deadline()).await.unwrap();
    assert_eq!(promptly(waiting).await, ErrorKind::Closed);
    let late = consumer.settle(&[(got[0].token, Settlement::Ack)], deadline()).await;
    assert_eq!(late[0].as_ref().unwrap_err().kind(), ErrorKind::StaleToken);
    assert_eq!(depth(&broker, "q", "q").await.ready, 1);
    assert!(!consumer.status().attached);
}

#[tokio::test(start_paused = true)]
async fn closing_an_idle_consumer_ends_its_recv_at_once() {
    let (_, broker) = with_queue().await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let waits = Arc::clone(&consumer);
    let waits = tokio::spawn(async move { waits.recv(9).await.unwrap_err().kind() });
    tokio::task::yield_now().await;
    consumer.close(deadline()).await.unwrap();
    assert_eq!(promptly(waits).await, ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_paused_consumer_keeps_what_it_has_and_gets_nothing() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1", "2"]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let got = consumer.recv(1).await.unwrap();
    consumer.pause();
    assert!(try_recv(&consumer, 1).await.is_empty() && consumer.status().paused);
    ack(&consumer, &got).await;
    let waits = waiting(&consumer, 1).await;
    consumer.resume();
    assert_eq!(promptly(waits).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_settles_once_and_only_at_its_consumer() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1"]).await;
    let (mine, other) = pair(&broker, 9).await;
    let got = mine.recv(1).await.unwrap();
    let ack = [(got[0].token, Settlement::Ack)];
    let stale = |results: Vec<Result<()>>| results[0].as_ref().unwrap_err().kind();
    assert_eq!(stale(other.settle(&ack, deadline()).await), ErrorKind::StaleToken);
    assert_eq!(stale(other.extend(&tokens(&got), deadline()).await), ErrorKind::StaleToken);
    assert!(mine.settle(&ack, deadline()).await[0].is_ok());
    assert_eq!(stale(mine.settle(&ack, deadline()).await), ErrorKind::StaleToken);
}

#[tokio::test(start_paused = true)]
async fn after_the_broker_was_closed_everything_fails_as_closed() {
    let (_, broker) = with_queue().await;
    let consumer = consume(&broker, "q", "q", 9).await;
    publish_all(&broker, &["1"]).await;
    let got = consumer.recv(1).await.unwrap();
    let waits = Arc::clone(&consumer);
    let waiting = tokio::spawn(async move { waits.recv(1).await.unwrap_err().kind() });
    tokio::task::yield_now().await;
    broker.close(deadline()).await.unwrap();
    assert_eq!(promptly(waiting).await, ErrorKind::Closed);
    assert_eq!(kind(&publish(&broker, [send("q", "1")]).await[0]), Some(ErrorKind::Closed));
    assert_eq!(broker.admin().ping().await.unwrap_err().kind(), ErrorKind::Closed);
    let late = consumer.settle(&[(got[0].token, Settlement::Ack)], deadline()).await;
    assert_eq!(late[0].as_ref().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_first_listener_learns_of_the_assignment() {
    let (_, broker) = with_queue().await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let event = consumer.events().recv().await;
    assert!(matches!(event, Some(Event::Assigned { partitions }) if partitions == [0]));
}

#[tokio::test(start_paused = true)]
async fn a_server_tells_that_something_changed() {
    let (server, broker) = with_queue().await;
    let seen = server.version();
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { server.changed(seen).await }
    });
    tokio::task::yield_now().await;
    publish_all(&broker, &["1"]).await;
    assert_ne!(promptly(waiting).await, seen);
}
