//! Groups whose place on the log is unknown, or gone.

use polymq_core::broker::Source;
use polymq_core::{ChannelName, ErrorKind, GroupName, Message, Service};
use polymq_tests::bed::{Log, peek};
use polymq_tests::real::foreign::polymq;
use polymq_tests::real::mailer::service;
use polymq_tests::real::{Kafka, eventually, start, try_start, until_handled};

on_each_series!(
    a_group_that_kafka_has_forgotten_is_refused_until_it_is_told_where_to_go_on,
    what_retention_removed_unhandled_is_told_and_nothing_is_skipped_in_silence,
    a_partition_or_an_offset_that_is_not_there_is_refused_with_those_that_are,
);

const ORDERS: &str = r#"
[channels.orders]
kind = "queue"
order_by = "key"
partitions = 1
[consumers.mailer]
channel = "orders"
"#;

async fn a_group_that_kafka_has_forgotten_is_refused_until_it_is_told_where_to_go_on(series: &str) {
    let place = Kafka::place(series).await;
    let (config, log) = (place.config(ORDERS), Log::default());
    let running = start(&config, service(&log)).await;
    running.publisher().publish_message("orders", Message::new("").with_id("one")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert!(running.drain().await.is_clean());
    place.tool("kafka-consumer-groups", &["--delete", "--group", &place.topic("orders")]).await;

    let error = try_start(&config, service(&log)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopologyMismatch, "{error:?}");
    for part in [&place.topic("orders"), "polymq seek"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }

    polymq(&config, &["seek", "mailer", "--to", "earliest"]).await.assert_success();
    let running = start(&config, service(&log)).await;
    until_handled(&running, "mailer", 1).await;
    assert_eq!(log.all(), ["one", "one"]);
    assert!(running.drain().await.is_clean());
}

async fn what_retention_removed_unhandled_is_told_and_nothing_is_skipped_in_silence(series: &str) {
    let place = Kafka::place(series).await;
    let (config, log) = (place.config(ORDERS), Log::default());
    let shop = start(&config, Service::new(())).await;
    let publish = async |id: &str| {
        shop.publisher().publish_message("orders", Message::new("").with_id(id)).await.unwrap();
    };
    publish("removed").await;
    place.alter_topic("orders", "retention.ms=1,segment.ms=1").await;
    let name = ChannelName::new("orders").unwrap();
    let source = Source::Group { group: GroupName::from(&name), channel: name };
    eventually("the log is empty", async || match peek(&shop, "orders", source.clone()).await {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    })
    .await;
    place.alter_topic("orders", "retention.ms=-1,segment.ms=604800000").await;
    publish("kept").await;

    let told = polymq(&config, &["sub", "mailer", "--count", "1", "--idle", "5s"]).await;
    assert_eq!(told.stdout, "");
    for part in ["polymq seek", &place.topic("orders")] {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    polymq(&config, &["seek", "mailer", "--to", "earliest"]).await.assert_success();
    let running = start(&config, service(&log)).await;
    until_handled(&running, "mailer", 1).await;
    assert_eq!(log.all(), ["kept"]);
}

async fn a_partition_or_an_offset_that_is_not_there_is_refused_with_those_that_are(series: &str) {
    let place = Kafka::place(series).await;
    let config = place.config(ORDERS);
    let shop = start(&config, Service::new(())).await;
    shop.publisher().publish_message("orders", Message::new("")).await.unwrap();
    for (position, there) in [("7:0", "the topic has 1"), ("0:9", "0/0 up to 0/1")] {
        let refused = polymq(&config, &["seek", "mailer", "--to", position]).await;
        assert_ne!(refused.status, Some(0), "{position}");
        assert!(refused.stderr.contains(there), "{position}: {}", refused.stderr);
    }
    polymq(&config, &["seek", "mailer", "--to", "0:0"]).await.assert_success();
}
