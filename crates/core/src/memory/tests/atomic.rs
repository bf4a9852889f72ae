use super::*;
use crate::broker::{Capability, Unit};

async fn setup(options: MemoryOptions) -> (MemoryServer, Arc<dyn Broker>, Arc<dyn Consumer>) {
    let server = MemoryServer::new(options);
    let mut small = queue("small");
    small.max_bytes = Some(600);
    let dead = ChannelSpec::dead_letter(channel("dead"));
    let broker = connect(&server, vec![queue("q"), queue("out"), small, dead]).await;
    publish_all(&broker, &["1", "2"]).await;
    let consumer = consume(&broker, "q", "q", 9).await;
    (server, broker, consumer)
}

fn unit(of: &Delivery, sends: impl IntoIterator<Item = Send>) -> Unit {
    Unit { token: of.token, sends: sends.into_iter().collect() }
}

#[tokio::test(start_paused = true)]
async fn a_unit_sends_and_acks() {
    let (_, broker, consumer) = setup(MemoryOptions::default()).await;
    let got = consumer.recv(9).await.unwrap();
    let sends = [send("out", "a"), retry("q", "q", "r"), send("q", "3")];
    let results = consumer.commit(vec![unit(&got[0], sends), unit(&got[1], [])], deadline()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(depth(&broker, "out", "out").await.ready, 1);
    assert_eq!(depth(&broker, "q", "q").await.total(), 1);
    assert_eq!(consumer.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_cannot_send_everything_does_nothing() {
    let (server, broker, consumer) = setup(MemoryOptions::default().with_max_bytes(4000)).await;
    let got = consumer.recv(9).await.unwrap();
    let used = server.used_bytes();
    for (last, kind) in [
        (vec![retry("q", "q", &"x".repeat(4500))], ErrorKind::Full),
        (vec![send("nowhere", "b")], ErrorKind::NotFound),
        (vec![send("small", "b"), send("small", "b"), send("small", "b")], ErrorKind::Full),
    ] {
        let sends = [send("out", "a")].into_iter().chain(last);
        let results = consumer.commit(vec![unit(&got[0], sends)], deadline()).await;
        assert_eq!(results[0].as_ref().unwrap_err().kind(), kind);
    }
    assert_eq!(depth(&broker, "out", "out").await.total(), 0);
    assert_eq!((server.used_bytes(), consumer.status().in_flight), (used, 2));
    ack(&consumer, &got).await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_with_a_stale_token_sends_nothing_and_others_are_not_touched() {
    let (_, broker, consumer) = setup(MemoryOptions::default()).await;
    let got = consumer.recv(9).await.unwrap();
    ack(&consumer, &got[..1]).await;
    let units = vec![unit(&got[0], [send("out", "a")]), unit(&got[1], [send("out", "b")])];
    let results = consumer.commit(units, deadline()).await;
    assert_eq!(results[0].as_ref().unwrap_err().kind(), ErrorKind::StaleToken);
    assert!(results[1].is_ok());
    assert_eq!(depth(&broker, "out", "out").await.ready, 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_told_to_lack_atomic_refuses_every_unit() {
    let options = MemoryOptions::default().without(Capability::Atomic);
    let (_, _, consumer) = setup(options).await;
    let got = consumer.recv(9).await.unwrap();
    let results = consumer.commit(got.iter().map(|d| unit(d, [])).collect(), deadline()).await;
    assert_eq!(results.len(), 2);
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
