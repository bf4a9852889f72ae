//! A RabbitMQ in a container of the suite's: what a test may count on.

#![cfg(feature = "rabbitmq")]
#![allow(clippy::unwrap_used, reason = "a test")]

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use polymq_testkit::containers::{RabbitmqServer, Vhost};

/// Nobody else stops this one's broker.
async fn server() -> RabbitmqServer {
    RabbitmqServer::dedicated("4.0", "testkit").await.unwrap()
}

async fn open(vhost: &Vhost) -> Channel {
    let connection = Connection::connect(vhost.url(), ConnectionProperties::default()).await;
    let channel = connection.unwrap().create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare("q".into(), QueueDeclareOptions::durable(), quorum).await.unwrap();
    channel
}

async fn publish(vhost: &Vhost, text: &str) {
    let channel = open(vhost).await;
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), "q".into(), options, text.as_bytes(), properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
}

async fn take(vhost: &Vhost) -> Vec<u8> {
    let channel = open(vhost).await;
    loop {
        let got = channel.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.unwrap();
        if let Some(message) = got {
            return message.delivery.data;
        }
    }
}

#[tokio::test]
async fn what_was_confirmed_outlives_a_stop_and_a_kill_at_the_same_address() {
    let server = server().await;
    let vhost = server.vhost().await.unwrap();
    let container = server.container().unwrap();
    for (text, killed) in [("stopped", false), ("killed", true)] {
        publish(&vhost, text).await;
        if killed {
            container.kill().await.unwrap();
        } else {
            container.stop().await.unwrap();
        }
        let down = Connection::connect(vhost.url(), ConnectionProperties::default()).await;
        assert!(down.is_err(), "it takes connections, {text}");
        server.restart().await.unwrap();
        assert_eq!(take(&vhost).await, text.as_bytes());
    }
}

#[tokio::test]
async fn a_virtual_host_has_nothing_of_another_one() {
    let server = RabbitmqServer::shared().await.unwrap();
    let (one, other) = (server.vhost().await.unwrap(), server.vhost().await.unwrap());
    publish(&one, "mine").await;
    let got = open(&other).await.basic_get("q".into(), BasicGetOptions { no_ack: true }).await;
    assert!(got.unwrap().is_none());
    assert_eq!(take(&one).await, b"mine");
}
