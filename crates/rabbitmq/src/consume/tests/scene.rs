//! A group on a real broker, and what a test does with it.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use polymq_core::broker::{
    ChannelKind, Connect, Consumer, Event, EventSender, Events, Settlement, Subscription, Topology,
};
use polymq_core::{Delivery, ErrorKind, Result};
use polymq_testkit::containers::RabbitmqServer;
use tokio::time::{Instant, timeout};

use crate::config::BrokerTable;
use crate::consume::{Attach, RabbitmqConsumer};
use crate::layout::GroupLayout;
use crate::link::Link;
use crate::target::Target;

/// Longer than anything takes that is going to happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Long enough for what must not happen to happen.
pub(super) const QUIET: Duration = Duration::from_millis(300);

pub(super) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A connection of its own.
pub(super) async fn link(url: &str) -> Link {
    let namespace = "test".parse().unwrap();
    let topology = Topology { namespace, channels: Vec::new() };
    let request = Connect::new("test", vec![url.into()], topology, soon());
    let target = Arc::new(Target::new(&request, BrokerTable::default()).unwrap());
    Link::open(target, "consume", EventSender::default(), soon()).await.unwrap()
}

pub(super) struct Scene {
    pub(super) link: Arc<Link>,
    pub(super) channel: Channel,
    pub(super) group: GroupLayout,
    /// Where the broker is.
    pub(super) url: String,
    ordered: bool,
}

impl Scene {
    /// A queue with its retry inbox.
    pub(super) async fn queue() -> Self {
        Self::new(1, false).await
    }

    /// Partitions with their retry inbox.
    pub(super) async fn partitions(count: usize) -> Self {
        Self::new(count, true).await
    }

    async fn new(count: usize, ordered: bool) -> Self {
        let server = RabbitmqServer::shared().await.unwrap();
        let url = server.url().to_owned();
        let link = link(&url).await;
        let channel = link.session(soon()).await.unwrap().channel(soon()).await.unwrap();
        let stem = format!("consume-test-{:016x}", rand::random::<u64>());
        let queues = (0..count).map(|n| format!("{stem}.{n}").into()).collect();
        let group = GroupLayout { queues, is_bound: false, inbox: format!("{stem}.retry").into() };
        let scene = Self { link: Arc::new(link), channel, group, url, ordered };
        scene.declare().await;
        scene
    }

    pub(super) async fn declare(&self) {
        for queue in &self.group.queues {
            self.declare_one(queue, self.ordered).await;
        }
        self.declare_one(&self.group.inbox, false).await;
    }

    async fn declare_one(&self, queue: &ShortString, single: bool) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(-1));
        if single {
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        self.channel.queue_declare(queue.clone(), options, arguments).await.unwrap();
    }

    pub(super) async fn delete(&self) {
        for queue in self.group.queues.iter().chain([&self.group.inbox]) {
            let options = QueueDeleteOptions::default();
            self.channel.queue_delete(queue.clone(), options).await.unwrap();
        }
    }

    /// Puts `texts` into a queue, in order.
    pub(super) async fn publish(&self, queue: &ShortString, texts: impl IntoIterator<Item = u32>) {
        let options = BasicPublishOptions::default();
        for text in texts {
            let payload = text.to_string();
            let publishing = self.channel.basic_publish(
                "".into(),
                queue.clone(),
                options,
                payload.as_bytes(),
                Default::default(),
            );
            publishing.await.unwrap();
        }
        // An answer says that everything before it has arrived.
        self.declare_one(&self.group.inbox, false).await;
    }

    pub(super) async fn publish_main(&self, texts: impl IntoIterator<Item = u32>) {
        self.publish(&self.group.queues[0], texts).await;
    }

    pub(super) async fn consumer(&self, prefetch: usize) -> RabbitmqConsumer {
        self.try_consumer(prefetch).await.unwrap()
    }

    pub(super) async fn try_consumer(&self, prefetch: usize) -> Result<RabbitmqConsumer> {
        self.consumer_on(&self.link, prefetch).await
    }

    pub(super) async fn consumer_on(
        &self,
        link: &Link,
        prefetch: usize,
    ) -> Result<RabbitmqConsumer> {
        let name = || "orders".parse().unwrap();
        let (group, consumer) = ("mailer".parse().unwrap(), "mailer".parse().unwrap());
        let subscription =
            Subscription::new(name(), group, consumer, prefetch, Duration::from_secs(600));
        let wanted = Attach {
            link: link.watch(),
            group: self.group.clone(),
            kind: ChannelKind::Queue,
            ordered: self.ordered,
            subscription,
            number: rand::random(),
            broker_events: EventSender::default(),
        };
        RabbitmqConsumer::attach(wanted, soon()).await
    }

    /// Waits until the broker holds nothing for the main queue, ready or unsettled.
    pub(super) async fn is_empty(&self) -> bool {
        // What is unsettled comes again when nobody has it.
        let consumer = self.consumer(100).await;
        let nothing = timeout(QUIET, consumer.recv(1)).await.is_err();
        consumer.close(soon()).await.unwrap();
        nothing
    }
}

pub(super) fn text(delivery: &Delivery) -> u32 {
    let payload = delivery.message.payload().expect("every message here has a payload");
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

pub(super) fn texts(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries.iter().map(text).collect()
}

/// Receives until there are `count`; errors other than of a missing queue are not expected.
pub(super) async fn receive(consumer: &RabbitmqConsumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        let more = timeout(PATIENCE, consumer.recv(count - deliveries.len())).await;
        match more.unwrap_or_else(|_| panic!("{} of {count} came", deliveries.len())) {
            Ok(more) => deliveries.extend(more),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
    }
    deliveries
}

pub(super) async fn nothing_comes(consumer: &RabbitmqConsumer) -> bool {
    timeout(QUIET, consumer.recv(100)).await.is_err()
}

pub(super) async fn settle(
    consumer: &RabbitmqConsumer,
    deliveries: &[Delivery],
    how: Settlement,
) -> Vec<Option<ErrorKind>> {
    let settlements: Vec<_> = deliveries.iter().map(|d| (d.token, how)).collect();
    let results = consumer.settle(&settlements, soon()).await;
    results.into_iter().map(|r| r.err().map(|error| error.kind())).collect()
}

pub(super) async fn ack(consumer: &RabbitmqConsumer, deliveries: &[Delivery]) {
    let results = settle(consumer, deliveries, Settlement::Ack).await;
    assert!(results.iter().all(Option::is_none), "{results:?}");
}

pub(super) async fn release(consumer: &RabbitmqConsumer, deliveries: &[Delivery]) {
    let results = settle(consumer, deliveries, Settlement::Release).await;
    assert!(results.iter().all(Option::is_none), "{results:?}");
}

/// The next event that `wanted` takes.
pub(super) async fn event<T>(events: &mut Events, wanted: impl Fn(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = events.recv().await.expect("the consumer lives");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the event comes")
}
