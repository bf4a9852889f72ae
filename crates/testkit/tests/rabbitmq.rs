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
    vhost.delete().await.unwrap();
}

async fn connects(url: &str) -> bool {
    Connection::connect(url, ConnectionProperties::default()).await.is_ok()
}

#[tokio::test]
async fn a_virtual_host_goes_with_its_last_handle_and_no_other_goes_with_it() {
    let server = RabbitmqServer::shared().await.unwrap();
    let (gone, kept) = (server.vhost().await.unwrap(), server.vhost().await.unwrap());
    publish(&gone, "in the way").await;
    let url = gone.url().to_owned();
    assert!(connects(&url).await);
    drop(gone);
    assert!(!connects(&url).await);
    assert!(connects(kept.url()).await);
}

#[tokio::test]
async fn deleting_objects_spares_those_of_another_name() {
    let vhost = RabbitmqServer::shared().await.unwrap().vhost().await.unwrap();
    publish(&vhost, "kept").await;
    let channel = open(&vhost).await;
    let (options, none) = (QueueDeclareOptions::durable(), FieldTable::default());
    channel.queue_declare("case-1.q".into(), options, none).await.unwrap();
    vhost.delete_objects("case-1.").await.unwrap();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare("case-1.q".into(), passive, FieldTable::default()).await;
    assert!(found.is_err(), "{found:?}");
    assert_eq!(take(&vhost).await, b"kept");
}
