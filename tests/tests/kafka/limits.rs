//! Topics that take less than a publisher sends, and replicas that are missing.

use std::time::Duration;

use polymq_core::broker::Event;
use polymq_core::{ErrorKind, Message};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Kafka, start, until_handled, within};

on_each_series!(
    a_message_above_the_limit_of_its_topic_is_refused_alone,
    without_enough_replicas_nothing_is_confirmed_until_they_are_back,
);

async fn a_message_above_the_limit_of_its_topic_is_refused_alone(series: &str) {
    let place = Kafka::place(series).await;
    let log = Log::default();
    let running = start(&place.config(ORDERS), service(&log)).await;
    let mut events = running.broker_of("orders").unwrap().events();
    place.alter_topic("orders", "max.message.bytes=10000").await;
    let message = |id: &str, bytes| Message::new(vec![b'x'; bytes]).with_id(id);
    let messages = [message("before", 100), message("above", 50_000), message("after", 100)];
    let outcomes = running.publisher().publish_all("orders", messages).await.unwrap();
    let mut outcomes = outcomes.into_iter().map(polymq_core::broker::Outcome::into_result);
    outcomes.next().unwrap().unwrap();
    let error = outcomes.next().unwrap().unwrap_err();
    outcomes.next().unwrap().unwrap();
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

async fn without_enough_replicas_nothing_is_confirmed_until_they_are_back(series: &str) {
    let place = Kafka::place(series).await;
    let log = Log::default();
    let running = start(&place.config(ORDERS), service(&log)).await;
    // Of one replica.
    place.alter_topic("orders", "min.insync.replicas=2").await;
    let hasty = running.publisher().with_deadline(Duration::from_secs(3));
    let error = hasty.publish_message("orders", Message::new("")).await.unwrap_err();
    assert!(error.to_string().contains("replicas"), "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("min.insync.replicas")), "{error:?}");

    let patient = running.publisher().with_deadline(Duration::from_secs(60));
    let waits = tokio::spawn(async move {
        patient.publish_message("orders", Message::new("").with_id("waited")).await
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waits.is_finished());
    place.alter_topic("orders", "min.insync.replicas=1").await;
    within("the confirmation", waits).await.unwrap().unwrap();
    polymq_tests::real::eventually("it is handled", async || {
        let handled = log.all();
        if handled.iter().any(|id| id == "waited") { Ok(()) } else { Err(handled) }
    })
    .await;
}
