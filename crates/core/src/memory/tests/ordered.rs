use super::*;

async fn with_ordered(payloads: &[&str]) -> Arc<dyn Broker> {
    let options = MemoryOptions::default().with_lease(secs(5));
    let broker = connect(&MemoryServer::new(options), vec![ordered("q")]).await;
    let outcomes = publish(&broker, payloads.iter().map(|p| keyed("q", p))).await;
    assert!(outcomes.iter().all(Outcome::is_confirmed));
    broker
}

#[tokio::test(start_paused = true)]
async fn a_key_in_hand_goes_on_at_its_holder_and_nowhere_else() {
    let broker = with_ordered(&["a1", "a2", "b1", "a3"]).await;
    let (x, y) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    let first = x.recv(1).await.unwrap();
    assert_eq!(payloads(&first), ["a1"]);
    assert_eq!(payloads(&try_recv(&y, 9).await), ["b1"]);
    let rest = x.recv(9).await.unwrap();
    assert_eq!(payloads(&rest), ["a2", "a3"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_ack_of_a_key_wakes_who_waits_for_it() {
    let broker = with_ordered(&["a1", "a2"]).await;
    let (x, y) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    let first = x.recv(1).await.unwrap();
    let waits = waiting(&y, 9).await;
    ack(&x, &first).await;
    assert_eq!(promptly(waits).await, ["a2"]);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_crashed_consumer_come_again_first_and_in_order() {
    let broker = with_ordered(&["a1", "b1", "a2", "b2", "a3"]).await;
    let crashed = consume(&broker, "q", "q", 9).await;
    assert_eq!(crashed.recv(4).await.unwrap().len(), 4);
    drop(crashed);
    let next = consume(&broker, "q", "q", 9).await;
    assert_eq!(payloads(&next.recv(9).await.unwrap()), ["a1", "b1", "a2", "b2", "a3"]);
}

#[tokio::test(start_paused = true)]
async fn releasing_a_key_recalls_what_is_later_in_hand() {
    let broker = with_ordered(&["a1", "a2", "a3", "b1"]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let got = consumer.recv(9).await.unwrap();
    ack(&consumer, &got[..1]).await;
    release(&consumer, &got[1..2]).await;
    let late = consumer.settle(&[(got[2].token, Settlement::Ack)], deadline()).await;
    assert_eq!(late[0].as_ref().unwrap_err().kind(), ErrorKind::StaleToken);
    ack(&consumer, &got[3..]).await;
    assert_eq!(payloads(&consumer.recv(9).await.unwrap()), ["a2", "a3"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_released_in_one_call_has_no_stale_tokens() {
    let broker = with_ordered(&["a1", "a2", "a3"]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let got = consumer.recv(9).await.unwrap();
    release(&consumer, &got).await;
    assert_eq!(payloads(&consumer.recv(9).await.unwrap()), ["a1", "a2", "a3"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_recalls_later_deliveries_of_the_key_though_extended() {
    let broker = with_ordered(&["a1", "a2"]).await;
    let (slow, other) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    let start = Instant::now();
    let got = slow.recv(9).await.unwrap();
    tokio::time::sleep(secs(3)).await;
    slow.extend(&[got[1].token], deadline()).await;
    assert_eq!(payloads(&other.recv(9).await.unwrap()), ["a1", "a2"]);
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(slow.settle(&[(got[1].token, Settlement::Ack)], deadline()).await[0].is_err());
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_key_are_free() {
    let broker = with_ordered(&[]).await;
    publish(&broker, [send("q", "1"), send("q", "2")]).await;
    let (x, y) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    assert_eq!(x.recv(1).await.unwrap().len() + try_recv(&y, 9).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_key_are_not_held_by_it() {
    let broker = with_ordered(&["a1", "a2"]).await;
    let mut send = retry("q", "q", "a0");
    send.message = send.message.with_key("a");
    let (x, y) = (consume(&broker, "q", "q", 9).await, consume(&broker, "q", "q", 9).await);
    x.recv(1).await.unwrap();
    publish(&broker, [send]).await;
    assert_eq!(payloads(&try_recv(&y, 9).await), ["a0"]);
}
