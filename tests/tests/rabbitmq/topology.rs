//! Objects that are not as the configuration wants them, or are there no more.

use polymq_core::broker::Event;
use polymq_core::{ErrorKind, Message, Service};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Rabbitmq, eventually, start, try_start, until_handled};
use serde_json::json;

on_each_series!(
    an_object_that_differs_is_described_and_nothing_is_changed,
    a_queue_that_is_deleted_under_a_service_is_missed_and_taken_up_again,
);

async fn an_object_that_differs_is_described_and_nothing_is_changed(series: &str) {
    let place = Rabbitmq::place(series).await;
    let management = place.management();
    let classic = json!({ "durable": true, "arguments": { "x-queue-type": "classic" } });
    management.put("queues/{vhost}/test.orders", classic).await;
    let service = service(&Log::default());
    let error = try_start(&place.config(ORDERS), service).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopologyMismatch, "{error:?}");
    for part in ["test.orders", "x-queue-type", "classic", "quorum"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let queues = management.get("queues/{vhost}").await;
    let names: Vec<_> =
        queues.as_array().unwrap().iter().map(|q| (&q["name"], &q["type"])).collect();
    assert_eq!(names, [(&json!("test.orders"), &json!("classic"))]);
    let exchanges = management.get("exchanges/{vhost}").await;
    let ours = |e: &&serde_json::Value| e["name"].as_str().is_some_and(|n| n.starts_with("test."));
    assert_eq!(exchanges.as_array().unwrap().iter().find(ours), None);
}

async fn a_queue_that_is_deleted_under_a_service_is_missed_and_taken_up_again(series: &str) {
    let place = Rabbitmq::place(series).await;
    let config = place.config(ORDERS);
    let log = Log::default();
    let running = start(&config, service(&log)).await;
    let publish = async |id: &str| {
        let message = Message::new(id.to_owned()).with_id(id);
        running.publisher().publish_message("orders", message).await
    };
    publish("before").await.unwrap();
    until_handled(&running, "mailer", 1).await;

    let mut events = running.broker_of("orders").unwrap().events();
    place.management().delete("queues/{vhost}/test.orders").await;
    eventually("the application is told", async || match events.try_recv() {
        Some(Event::TopologyLost { object }) if object == "test.orders" => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(!running.state("mailer").unwrap().broker.attached);
    // The exchange is still there, and what it cannot route is parked, not lost.
    publish("meanwhile").await.unwrap();
    let parked = place.management().take("test._homeless", 10).await;
    let parked: Vec<_> = parked.iter().map(|message| &message["payload"]).collect();
    assert_eq!(parked, ["meanwhile"]);

    let operator = start(&config, Service::new(())).await;
    publish("after").await.unwrap();
    eventually("the service goes on", async || {
        let handled = log.all();
        if handled.iter().any(|id| id == "after") { Ok(()) } else { Err(handled) }
    })
    .await;
    drop(operator);
}
