//! Topics that take less than a publisher sends, and clusters that are not complete.

use std::time::Duration;

use polymq_core::broker::{Event, Outcome};
use polymq_core::{ErrorKind, Message, Service};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Folder, Kafka, start, until_handled, within};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

on_each_series!(a_message_above_the_limit_of_its_topic_is_refused_alone);

async fn a_message_above_the_limit_of_its_topic_is_refused_alone(series: &str) {
    let place = Kafka::place(series).await;
    let log = Log::default();
    let running = start(&place.config(ORDERS), service(&log)).await;
    let mut events = running.broker_of("orders").unwrap().events();
    place.alter_topic("orders", "max.message.bytes=10000").await;
    let message = |id: &str, bytes| Message::new(vec![b'x'; bytes]).with_id(id);
    let publish = async |message| running.publisher().publish_message("orders", message).await;
    publish(message("before", 100)).await.unwrap();
    let error = publish(message("above", 50_000)).await.unwrap_err();
    publish(message("after", 100)).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("max.message.bytes")), "{error:?}");
    until_handled(&running, "mailer", 2).await;
    let mut handled = log.all();
    handled.sort_unstable();
    assert_eq!(handled, ["after", "before"]);
    while let Some(event) = events.try_recv() {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
}

/// A cluster that exists in librdkafka only, and answers as it is told.
fn incomplete_cluster(
    answers: &[RDKafkaRespErr],
) -> (MockCluster<'static, DefaultProducerContext>, Folder) {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("test.orders", 1, 1).unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, answers);
    let text = format!(
        "namespace = 'test'\ntopology = 'off'\nbroker.url = 'kafka://{}'\n[channels.orders]\nkind = 'queue'",
        cluster.bootstrap_servers()
    );
    let folder = Folder::default();
    let _ = folder.file("polymq.toml", &text);
    (cluster, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_enough_replicas_nothing_is_confirmed_until_they_are_back() {
    let missing = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 1000];
    let (cluster, folder) = incomplete_cluster(&missing);
    let shop = start(&folder.path("polymq.toml"), Service::new(())).await;
    let hasty = shop.publisher().with_deadline(Duration::from_secs(2));
    let error = hasty.publish_message("orders", Message::new("")).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("min.insync.replicas")), "{error:?}");

    let patient = shop.publisher().with_deadline(Duration::from_secs(30));
    let waits =
        tokio::spawn(async move { patient.publish_message("orders", Message::new("")).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    within("the confirmation", waits).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_leads_no_longer_costs_no_message() {
    let demoted = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 5];
    let (_cluster, folder) = incomplete_cluster(&demoted);
    let shop = start(&folder.path("polymq.toml"), Service::new(())).await;
    let messages = (0..20).map(|n| Message::new(n.to_string()));
    let outcomes = shop.publisher().publish_all("orders", messages).await.unwrap();
    let offsets = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Confirmed(confirmation) => confirmation.position.unwrap().offset,
        other => panic!("{other:?}"),
    });
    assert_eq!(offsets.collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
}
