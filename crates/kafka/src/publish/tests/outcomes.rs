use std::time::Duration;

use polymq_core::broker::{Destination, Event, Outcome, Send};
use polymq_core::{ErrorKind, GroupName, Message};
use polymq_testkit::containers::KafkaServer;
use rdkafka::mocking::MockCluster;
use tokio::time::Instant;

use super::scene::{DEAD, Scene, channel, confirmed, numbered, numbers, soon, to_channel};

fn rejected(outcome: &Outcome, kind: ErrorKind) {
    let Outcome::Rejected(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains("test"), "the broker is named: {error}");
}

/// librdkafka's own simulation of a cluster: it can be made to go away.
fn mock() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Scene) {
    let cluster = MockCluster::new(1).unwrap();
    let scene = Scene::at(format!("kafka://{}", cluster.bootstrap_servers()));
    cluster.create_topic(&scene.name("orders"), 4, 1).unwrap();
    (cluster, scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_rejects_and_the_others_go_on() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("");
    let group = GroupName::new("nobody").unwrap();
    let nowhere = Destination::RetryInbox { channel: channel(DEAD), group };
    let sends = vec![numbered(0, "k"), Send::new(nowhere, Message::new("lost?")), numbered(1, "k")];
    for _ in 0..2 {
        let outcomes = publisher.publish(sends.clone(), soon()).await;
        confirmed(&outcomes[..1]);
        rejected(&outcomes[1], ErrorKind::NotFound);
        confirmed(&outcomes[2..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_user_may_not_write_to_rejects() {
    let server = KafkaServer::shared().await.unwrap();
    let mut scene = Scene::new().await;
    let topic = scene.name("orders");
    let rule = ["--deny-principal", "User:alice", "--operation", "Write", "--topic", &topic];
    server.tool("kafka-acls", &[&["--add"][..], &rule].concat()).await.unwrap();
    scene.as_alice(&server);
    let publisher = scene.publisher("");
    let outcomes = publisher.publish(vec![numbered(0, "k")], soon()).await;
    server.tool("kafka-acls", &[&["--remove", "--force"][..], &rule].concat()).await.unwrap();
    rejected(&outcomes[0], ErrorKind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_missing_is_found_once_it_is_there() {
    let scene = Scene::bare().await;
    let publisher = scene.publisher("");
    rejected(&publisher.publish(vec![numbered(0, "k")], soon()).await[0], ErrorKind::NotFound);
    scene.create(&scene.name("orders"), 12, &[]).await;
    let deadline = soon();
    while !publisher.publish(vec![numbered(1, "k")], deadline).await[0].is_confirmed() {
        assert!(Instant::now() < deadline, "the topic was never found");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_rejected_by_us_or_by_the_broker_and_its_neighbours_are_not() {
    let scene = Scene::bare().await;
    scene.create(&scene.name("orders"), 1, &[("max.message.bytes", "20000")]).await;
    let publisher = scene.publisher("max_message_bytes = '100kB'");
    let large = |bytes: usize| vec![to_channel(Message::new(vec![0; bytes]))];
    rejected(&publisher.publish(large(200_000), soon()).await[0], ErrorKind::TooLarge);
    rejected(&publisher.publish(large(50_000), soon()).await[0], ErrorKind::TooLarge);
    confirmed(&publisher.publish(large(10_000), soon()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_rejected_in_its_place() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("");
    let unknown = Destination::Channel(channel("unknown"));
    let mut delayed = numbered(2, "k");
    delayed.at = Some(polymq_core::Timestamp::from_millis(1));
    let sends =
        vec![numbered(0, "k"), Send::new(unknown, Message::new("x")), delayed, numbered(3, "k")];
    let outcomes = publisher.publish(sends, soon()).await;
    rejected(&outcomes[1], ErrorKind::NotFound);
    rejected(&outcomes[2], ErrorKind::Unsupported);
    confirmed(&outcomes[..1]);
    confirmed(&outcomes[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_broker_can_be_reached_only_the_first_are_in_doubt_at_the_deadline() {
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let scene = Scene::at(format!("kafka://127.0.0.1:{port}"));
    let mut events = scene.events.subscribe();
    let publisher = scene.publisher("publish_window = 3");
    let event = tokio::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap();
    assert!(matches!(event, Some(Event::Disconnected { .. })), "{event:?}");
    let start = Instant::now();
    let outcomes = publisher
        .publish((0..10).map(|n| numbered(n, "k")).collect(), start + Duration::from_secs(1))
        .await;
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    let (handed, waiting) = outcomes.split_at(3);
    for outcome in handed {
        let Outcome::Unconfirmed(error) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
    }
    waiting.iter().for_each(|outcome| rejected(outcome, ErrorKind::Disconnected));
    let again =
        publisher.publish(vec![numbered(11, "k")], Instant::now() + Duration::from_millis(200));
    rejected(&again.await[0], ErrorKind::Disconnected);
    let error = publisher.close(Instant::now() + Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_does_not_answer_is_unconfirmed_at_the_deadline_and_may_be_stored_later() {
    let server = KafkaServer::dedicated("4.2", "paused").await.unwrap();
    let container = server.container().expect("a broker of the tests' own");
    let scene = Scene::on(&server).await;
    let publisher = scene.publisher("");
    confirmed(&publisher.publish(vec![numbered(0, "k")], soon()).await);
    container.pause().await.unwrap();
    let start = Instant::now();
    let outcomes =
        publisher.publish(vec![numbered(1, "k")], start + Duration::from_millis(500)).await;
    let took = start.elapsed();
    container.resume().await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Unconfirmed(e) if e.kind() == ErrorKind::Timeout));
    assert!(took < Duration::from_secs(1), "{took:?}");
    confirmed(&publisher.publish(vec![numbered(2, "k")], soon()).await);
    assert_eq!(numbers(&scene.stored(&scene.name("orders")).await, "k"), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_outlives_an_outage_and_both_ends_of_it_are_told() {
    let (cluster, scene) = mock();
    let mut events = scene.events.subscribe();
    let publisher = scene.publisher("");
    confirmed(&publisher.publish(vec![numbered(0, "k")], soon()).await);
    cluster.broker_down(1).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Disconnected { .. })));
    let call = publisher.publish((1..300).map(|n| numbered(n, "k")).collect(), soon());
    let back = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.broker_up(1).unwrap();
    };
    let (outcomes, ()) = tokio::join!(call, back);
    confirmed(&outcomes);
    assert!(matches!(events.recv().await, Some(Event::Recovered)));
    assert_eq!(
        numbers(&scene.stored(&scene.name("orders")).await, "k"),
        (0..300).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_earlier_calls_and_refuses_later_ones() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("publish_window = 50");
    let earlier = publisher.publish((0..1000).map(|n| numbered(n, "k")).collect(), soon());
    let (outcomes, closed) = tokio::join!(earlier, publisher.close(soon()));
    closed.unwrap();
    confirmed(&outcomes);
    rejected(&publisher.publish(vec![numbered(1, "k")], soon()).await[0], ErrorKind::Closed);
    publisher.close(soon()).await.unwrap();
}
