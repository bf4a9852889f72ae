//! Topics that are not there, and groups that cannot be told apart.

use polymq_core::{ErrorKind, Message, Service};
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Kafka, eventually, start, try_start};

on_each_series!(
    a_topic_that_is_missing_is_named_to_consumers_and_publishers,
    a_consumer_group_belongs_to_one_channel_only,
);

/// The broker makes no topics by itself.
async fn a_topic_that_is_missing_is_named_to_consumers_and_publishers(series: &str) {
    let place = Kafka::place(series).await;
    let topic = place.topic("orders");
    for policy in ["off", "check"] {
        let config = place.config(&format!("topology = \"{policy}\"\n{ORDERS}"));
        let error = try_start(&config, service(&Log::default())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{policy}: {error:?}");
        assert!(error.to_string().contains(&topic), "{policy}: {error}");
    }
    let config = place.config(&format!("topology = \"off\"\n{ORDERS}"));
    let shop = start(&config, Service::new(())).await;
    let error =
        shop.publisher().publish_message("orders", Message::new("lost?")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("topology apply")), "{error:?}");
    assert!(error.to_string().contains("orders"), "{error}");

    start(&place.config(ORDERS), Service::new(())).await.drain().await;
    eventually("the publisher sees the topic", async || {
        shop.publisher().publish_message("orders", Message::new("an order")).await.map(drop)
    })
    .await;
}

async fn a_consumer_group_belongs_to_one_channel_only(series: &str) {
    let place = Kafka::place(series).await;
    let config = place.config(
        r#"
[channels.orders]
kind = "queue"
kafka.group = "shared"
[channels.events]
kind = "topic"
kafka.groups.audit = "shared"
[consumers.mailer]
channel = "orders"
[consumers.audit]
channel = "events"
group = "audit"
"#,
    );
    let error = try_start(&config, Service::new(())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    for part in ["orders", "events", "consumer group `shared`"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}
