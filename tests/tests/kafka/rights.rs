//! Users who may do one thing and not another.

use polymq_core::{ErrorKind, Message, Service};
use polymq_tests::bed::Log;
use polymq_tests::real::foreign::polymq;
use polymq_tests::real::mailer::service;
use polymq_tests::real::{Kafka, Site, start, until_handled};

on_each_series!(a_topic_that_is_forbidden_is_refused_alone);

const CHANNELS: &str = r#"
[channels.orders]
kind = "queue"
[channels.secrets]
kind = "queue"
"#;

fn consumer_of(channel: &str) -> String {
    format!("{CHANNELS}[consumers.mailer]\nchannel = '{channel}'\n")
}

async fn a_topic_that_is_forbidden_is_refused_alone(series: &str) {
    let place = Kafka::place(series).await;
    for channel in ["orders", "secrets"] {
        let operator = start(&place.config(&consumer_of(channel)), Service::new(())).await;
        operator.drain().await;
    }
    let forbidden = place.topic("secrets");
    let may_look = [
        "--add",
        "--allow-principal",
        "User:alice",
        "--operation",
        "Describe",
        "--topic",
        &forbidden,
    ];
    place.tool("kafka-acls", &may_look).await;
    let as_alice = |rest: &str| {
        let url = place.url_as("alice", "alice");
        place.config_at(&url, &format!("topology = \"off\"\n{rest}"))
    };

    let log = Log::default();
    let running = start(&as_alice(&consumer_of("orders")), service(&log)).await;
    let publisher = running.publisher();
    let error = publisher.publish_message("secrets", Message::new("")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(error.to_string().contains("secrets"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("kafka-acls.sh")), "{error:?}");
    publisher.publish_message("orders", Message::new("").with_id("allowed")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(log.all(), ["allowed"]);

    // Only when it fetches.
    let told = polymq(&as_alice(&consumer_of("secrets")), &["sub", "mailer", "--idle", "5s"]).await;
    assert_eq!(told.stdout, "");
    for part in [&forbidden, "kafka-acls.sh"] {
        assert!(told.stderr.contains(part), "{part}: {}", told.stderr);
    }
    place.tool("kafka-acls", &["--remove", "--force", "--topic", &forbidden]).await;
}
