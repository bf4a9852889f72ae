//! lapin, as an expert uses it: writes overlap, and acks cover many messages.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};

use crate::broker::{self, Place};
use crate::common::measure::{Sample, Start};
use crate::common::{self, BYTES, MESSAGES, WINDOW};

pub(crate) struct Raw {
    /// The exchange, and the queue behind it.
    orders: &'static str,
    publishing: Arc<Channel>,
    consuming: Connection,
    _publishing: Connection,
}

impl Raw {
    pub(crate) async fn connect(place: &Place) -> Self {
        let publishing = broker::connect(place.url()).await;
        let channel = publishing.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self {
            orders: place.orders(),
            publishing: Arc::new(channel),
            consuming: broker::connect(place.url()).await,
            _publishing: publishing,
        }
    }

    /// Every task publishes a message, waits for its confirm, and publishes the next.
    pub(crate) async fn publish_tasks(&self) -> Sample {
        let start = Start::now();
        let tasks = (0..WINDOW).map(|_| {
            let (channel, exchange) = (Arc::clone(&self.publishing), self.orders);
            tokio::spawn(async move {
                for _ in 0..MESSAGES / WINDOW {
                    publish(&channel, exchange, &[0; BYTES]).await;
                }
            })
        });
        join_all(tasks).await;
        start.sample()
    }

    /// A batch is written as a whole, and the next one once it is confirmed.
    pub(crate) async fn publish_batches(&self) -> Sample {
        let start = Start::now();
        for _ in 0..MESSAGES / WINDOW {
            join_all((0..WINDOW).map(|_| publish(&self.publishing, self.orders, &[0; BYTES])))
                .await;
        }
        start.sample()
    }

    /// Puts the messages of a round into the queue.
    pub(crate) async fn fill(&self) {
        self.publish_tasks().await;
    }

    /// Takes the messages of a round, from the first one on, acking every `every` of them.
    pub(crate) async fn consume(&self, every: u64) -> Sample {
        let channel = self.consuming.create_channel().await.unwrap();
        let prefetch = u16::try_from(WINDOW).unwrap();
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.unwrap();
        let consumer = channel.basic_consume(
            self.orders.into(),
            "raw".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = consumer.await.unwrap();
        let first = consumer.next().await.unwrap().unwrap();
        let start = Start::now();
        let (mut tag, mut seen) = (first.delivery_tag, 1);
        loop {
            let all = seen == MESSAGES as u64;
            if seen.is_multiple_of(every) || all {
                let options = BasicAckOptions { multiple: every > 1 };
                channel.basic_ack(tag, options).await.unwrap();
            }
            if all {
                break;
            }
            let delivery = consumer.next().await.unwrap().unwrap();
            std::hint::black_box(&delivery.data);
            tag = delivery.delivery_tag;
            seen += 1;
        }
        let sample = start.sample();
        // The broker drops acks that it is still busy with when their channel closes.
        tokio::time::sleep(Duration::from_millis(200)).await;
        channel.close(200, "done".into()).await.unwrap();
        sample
    }
}

/// The same message as polymq writes: an id, a time, and what CloudEvents asks for.
async fn publish(channel: &Channel, exchange: &str, payload: &[u8]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("cloudEvents:specversion", "1.0".to_owned()),
        ("cloudEvents:source", "polymq:bench".to_owned()),
        ("polymq-time", now.to_string()),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(common::id().into())
        .with_timestamp(u64::try_from(now / 1000).unwrap())
        .with_headers(headers);
    let options = BasicPublishOptions::default();
    let written = channel.basic_publish(exchange.into(), "".into(), options, payload, properties);
    let answer = written.await.unwrap().await.unwrap();
    assert!(answer.is_ack(), "the broker took it");
}
