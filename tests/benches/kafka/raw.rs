//! rdkafka, as an expert uses it: reports are awaited together, and offsets are committed in the background.

use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::future::join_all;
use polymq_core::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::broker::Place;
use crate::common::measure::{Sample, Start};
use crate::common::{self, BYTES, MESSAGES, WINDOW};

pub(crate) struct Raw {
    orders: String,
    jobs: String,
    producer: FutureProducer,
    consumer: ClientConfig,
}

impl Raw {
    pub(crate) fn new(place: &Place) -> Self {
        let mut producer = place.client();
        producer
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("partitioner", "murmur2_random");
        let mut consumer = place.client();
        consumer
            .set("group.id", place.name("raw"))
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "200")
            .set("enable.auto.offset.store", "false");
        Self {
            orders: place.name("orders"),
            jobs: place.name("jobs"),
            producer: producer.create().unwrap(),
            consumer,
        }
    }

    /// Every task sends a message, waits for its report, and sends the next.
    pub(crate) async fn publish_tasks(&self) -> Sample {
        let start = Start::now();
        let tasks = (0..WINDOW).map(|_| {
            let (producer, topic) = (self.producer.clone(), self.orders.clone());
            tokio::spawn(async move {
                for _ in 0..MESSAGES / WINDOW {
                    send(&producer, &topic).await.unwrap().unwrap();
                }
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        start.sample()
    }

    /// A batch is sent as a whole, and the next one once every report is there.
    pub(crate) async fn publish_batches(&self) -> Sample {
        let start = Start::now();
        self.send_batches(&self.orders, MESSAGES).await;
        start.sample()
    }

    /// Sends what is to be consumed.
    pub(crate) async fn fill(&self, count: usize) {
        self.send_batches(&self.jobs, count).await;
    }

    async fn send_batches(&self, topic: &str, count: usize) {
        for _ in 0..count / WINDOW {
            let sent: Vec<_> = (0..WINDOW).map(|_| send(&self.producer, topic)).collect();
            for report in sent {
                report.await.unwrap().unwrap();
            }
        }
    }

    /// Takes this many messages, from the first one on, and notes each as done: what is done is committed as
    /// often as polymq commits.
    pub(crate) async fn consume(&self, count: u64) -> Sample {
        let consumer: StreamConsumer = self.consumer.create().unwrap();
        consumer.subscribe(&[&self.jobs]).unwrap();
        let mut messages = consumer.stream();
        let mut start = None;
        for _ in 0..count {
            let message = messages.next().await.unwrap().unwrap();
            start.get_or_insert_with(Start::now);
            std::hint::black_box(message.payload());
            consumer.store_offset_from_message(&message).unwrap();
        }
        let sample = start.map(Start::sample);
        consumer.commit_consumer_state(CommitMode::Sync).unwrap();
        sample.unwrap()
    }
}

fn header<'a>(name: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key: name, value: Some(value) }
}

/// The same record as polymq writes: an id, a time, and what CloudEvents asks for.
fn send(producer: &FutureProducer, topic: &str) -> DeliveryFuture {
    let now = Timestamp::from(SystemTime::now());
    let headers = OwnedHeaders::new_with_capacity(4)
        .insert(header("ce_specversion", "1.0"))
        .insert(header("ce_source", "polymq:bench"))
        .insert(header("ce_id", &common::id()))
        .insert(header("ce_time", &now.to_string()));
    let record = FutureRecord::<(), [u8]>::to(topic)
        .payload(&[0; BYTES])
        .timestamp(i64::try_from(now.as_millis()).unwrap())
        .headers(headers);
    producer.send_result(record).map_err(|(error, _)| error).unwrap()
}
