use super::*;
use crate::Clock;
use crate::broker::{Browse, Peeked, StartPosition};
use crate::model::Position;

async fn history() -> Arc<dyn Broker> {
    let mut spec = topic("t", &["a"]);
    spec.retention = Some(secs(100));
    connect(&MemoryServer::default(), vec![spec]).await
}

fn shown(peeked: &[Peeked]) -> Vec<&[u8]> {
    peeked.iter().filter_map(|p| p.message.payload()).map(AsRef::as_ref).collect()
}

async fn browse(broker: &Arc<dyn Broker>, source: &Source) -> Box<dyn Browse> {
    broker.admin().browse(source, StartPosition::Earliest).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn browsing_shows_what_is_unhandled_and_takes_nothing() {
    let (_, broker) = with_queue().await;
    publish_all(&broker, &["1", "2", "3", "4"]).await;
    let consumer = consume(&broker, "q", "q", 2).await;
    let got = consumer.recv(2).await.unwrap();
    ack(&consumer, &got[..1]).await;
    let mut browse = browse(&broker, &source("q", "q")).await;
    assert_eq!(shown(&browse.next(2).await.unwrap()), [b"2", b"3"]);
    publish_all(&broker, &["5"]).await;
    assert_eq!(shown(&browse.next(9).await.unwrap()), [b"4", b"5"]);
    assert!(browse.next(9).await.unwrap().is_empty());
    let depth = depth(&broker, "q", "q").await;
    assert_eq!((depth.ready, depth.in_flight), (3, Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_peeked_message_can_be_removed_unless_it_is_in_hand_or_gone() {
    let broker = connect(&MemoryServer::default(), vec![ordered("q")]).await;
    publish(&broker, ["a1", "a2", "b1", "a3"].map(|p| keyed("q", p))).await;
    let mut browse = browse(&broker, &source("q", "q")).await;
    let handles: Vec<_> = browse.next(9).await.unwrap().into_iter().map(|p| p.handle).collect();
    let consumer = consume(&broker, "q", "q", 9).await;
    let held = consumer.recv(1).await.unwrap();
    let results = browse
        .remove(&[handles[0].clone(), handles[2].clone(), handles[1].clone(), handles[1].clone()])
        .await;
    let ok: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [false, true, true, false]);
    ack(&consumer, &held).await;
    assert_eq!(payloads(&consumer.recv(9).await.unwrap()), ["a3"]);
    assert_eq!(depth(&broker, "q", "q").await.ready, 0);
}

#[tokio::test(start_paused = true)]
async fn removing_for_one_group_keeps_the_message_for_the_other() {
    let broker = connect(&MemoryServer::default(), vec![topic("t", &["a", "b"])]).await;
    publish(&broker, [send("t", "1"), send("t", "2")]).await;
    let mut browse = browse(&broker, &source("t", "a")).await;
    let second = browse.next(2).await.unwrap().remove(1).handle;
    assert!(browse.remove(&[second]).await[0].is_ok());
    for (of, left) in [("a", vec!["1"]), ("b", vec!["1", "2"])] {
        let consumer = consume(&broker, "t", of, 9).await;
        assert_eq!(payloads(&consumer.recv(9).await.unwrap()), left);
    }
}

#[tokio::test(start_paused = true)]
async fn purging_leaves_what_is_in_flight() {
    let (server, broker) = with_queue().await;
    publish_all(&broker, &["1", "2", "3"]).await;
    publish(&broker, [retry("q", "q", "r")]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    let held = consumer.recv(1).await.unwrap();
    assert_eq!(broker.admin().purge(&source("q", "q")).await.unwrap(), 2);
    let inbox = Source::RetryInbox { channel: channel("q"), group: group("q") };
    assert_eq!(shown(&browse(&broker, &inbox).await.next(9).await.unwrap()), [b"r"]);
    assert_eq!(broker.admin().purge(&inbox).await.unwrap(), 1);
    release(&consumer, &held).await;
    let again = consumer.recv(9).await.unwrap();
    assert_eq!(payloads(&again), ["1"]);
    ack(&consumer, &again).await;
    assert_eq!(server.used_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_can_be_moved_over_the_history_of_its_topic() {
    let broker = history().await;
    let seek = async |to| broker.admin().seek(&channel("t"), &group("a"), to).await;
    let consumer = consume(&broker, "t", "a", 9).await;
    for payload in ["0", "1", "2"] {
        publish(&broker, [send("t", payload)]).await;
        tokio::time::sleep(secs(1)).await;
    }
    let got = consumer.recv(9).await.unwrap();
    ack(&consumer, &got).await;
    let at = |offset| StartPosition::Position(Position { partition: 0, offset });
    let second = VirtualClock::default().now() + secs(1);
    for (to, comes) in [
        (StartPosition::Earliest, vec!["0", "1", "2"]),
        (at(2), vec!["2"]),
        (StartPosition::Timestamp(second), vec!["1", "2"]),
    ] {
        seek(to).await.unwrap();
        let got = consumer.recv(9).await.unwrap();
        assert_eq!(payloads(&got), comes);
        ack(&consumer, &got).await;
    }
    seek(StartPosition::Earliest).await.unwrap();
    seek(StartPosition::Latest).await.unwrap();
    assert!(try_recv(&consumer, 9).await.is_empty());
    assert_eq!(seek(at(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn seeking_makes_what_is_in_hand_stale() {
    let broker = history().await;
    publish(&broker, [send("t", "0"), send("t", "1")]).await;
    let consumer = consume(&broker, "t", "a", 9).await;
    let held = consumer.recv(1).await.unwrap();
    broker.admin().seek(&channel("t"), &group("a"), StartPosition::Earliest).await.unwrap();
    let late = consumer.settle(&[(held[0].token, Settlement::Ack)], deadline()).await;
    assert_eq!(late[0].as_ref().unwrap_err().kind(), ErrorKind::StaleToken);
    assert_eq!(payloads(&consumer.recv(9).await.unwrap()), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_group_can_start_at_the_history_and_the_history_ends() {
    let mut spec = topic("t", &["b"]);
    spec.retention = Some(secs(100));
    spec.groups[0].start = StartPosition::Earliest;
    let server = MemoryServer::default();
    let first = connect(&server, vec![ChannelSpec { groups: Vec::new(), ..spec.clone() }]).await;
    publish(&first, [send("t", "old")]).await;
    tokio::time::sleep(secs(60)).await;
    publish(&first, [send("t", "new")]).await;
    tokio::time::sleep(secs(60)).await;
    publish(&first, [send("t", "now")]).await;
    let second = connect(&server, vec![spec]).await;
    let consumer = consume(&second, "t", "b", 9).await;
    assert_eq!(payloads(&consumer.recv(9).await.unwrap()), ["new", "now"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_cannot_be_moved() {
    let (_, broker) = with_queue().await;
    let to = StartPosition::Earliest;
    let error = broker.admin().seek(&channel("q"), &group("q"), to).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
