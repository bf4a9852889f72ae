//! A group on a real broker, and what a test does with it.

use std::sync::Arc;
use std::time::Duration;

use polymq_core::broker::{
    Connect, Consumer, Event, EventSender, Events, Settlement, Subscription, Topology,
};
use polymq_core::{Delivery, ErrorKind, Message, Result, Timestamp};
use polymq_testkit::containers::KafkaNamespace;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::{Instant, timeout};

use crate::config::BrokerTable;
use crate::consume::{Attach, KafkaConsumer};
use crate::convert::{self, Form};
use crate::fixture::server;
use crate::layout::GroupLayout;
use crate::target::Target;
use crate::tiers;

/// Longer than anything takes that is going to happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for what must not happen to happen.
pub(super) const QUIET: Duration = Duration::from_millis(500);

pub(super) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn clients() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", server().address());
    config
}

pub(super) struct Scene {
    url: String,
    /// It removes the topics at the end.
    namespace: Arc<KafkaNamespace>,
    pub(super) group: GroupLayout,
    partitions: i32,
    producer: Arc<BaseProducer>,
    admin: AdminClient<DefaultClientContext>,
}

impl Scene {
    /// A topic and its retry inbox, with a group that has read nothing of them.
    pub(super) async fn new(partitions: i32) -> Self {
        let scene = Self::without_offsets(partitions).await;
        scene.commit(&scene.group.topic, (0..partitions).map(|p| (p, 0, ""))).await;
        scene
    }

    /// The same, but the group has committed nothing.
    pub(super) async fn without_offsets(partitions: i32) -> Self {
        let namespace = server().namespace().unwrap();
        let stem = format!("{}.q", namespace.name());
        let group = GroupLayout {
            id: stem.as_str().into(),
            topic: stem.as_str().into(),
            inbox: format!("{stem}._retry").into(),
            is_dead_letter: false,
        };
        let scene = Self {
            group,
            partitions,
            producer: Arc::new(clients().create().unwrap()),
            admin: clients().create().unwrap(),
            url: server().url(),
            namespace: Arc::new(namespace),
        };
        scene.create_topic().await;
        scene.create(&scene.group.inbox, tiers::COUNT as i32).await;
        scene
    }

    pub(super) async fn create_topic(&self) {
        self.create(&self.group.topic, self.partitions).await;
    }

    fn knows(&self, topic: &str) -> bool {
        let metadata = self.admin.inner().fetch_metadata(Some(topic), PATIENCE).unwrap();
        metadata.topics().iter().all(|topic| topic.error().is_none())
    }

    async fn create(&self, name: &str, partitions: i32) {
        let far = i64::MAX.to_string();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
            .set("retention.ms", "-1")
            .set("message.timestamp.after.max.ms", &far)
            .set("message.timestamp.before.max.ms", &far);
        let created = self.admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
        assert!(created.iter().all(Result::is_ok), "{created:?}");
        until("the topic is known", async || self.knows(name)).await;
    }

    pub(super) async fn delete_topic(&self, topic: &str) {
        let deleted = self.admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        until("the topic is gone", async || !self.knows(topic)).await;
    }

    pub(super) async fn delete(self) {
        self.delete_topic(&self.group.topic).await;
        self.delete_topic(&self.group.inbox).await;
    }

    /// Removes what is below an offset.
    pub(super) async fn remove_below(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
    }

    fn reader(&self) -> BaseConsumer {
        clients()
            .set("group.id", &*self.group.id)
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }

    /// Commits from outside the group.
    pub(super) async fn commit(
        &self,
        topic: &str,
        places: impl IntoIterator<Item = (i32, i64, &str)>,
    ) {
        let mut list = TopicPartitionList::new();
        for (partition, offset, metadata) in places {
            let mut element = list.add_partition(topic, partition);
            element.set_offset(Offset::Offset(offset)).unwrap();
            element.set_metadata(metadata);
        }
        let reader = self.reader();
        let deadline = std::time::Instant::now() + PATIENCE;
        // A topic that was just made may not be known everywhere.
        let commit = move || {
            while let Err(error) = reader.commit(&list, CommitMode::Sync) {
                assert!(std::time::Instant::now() < deadline, "{error}");
            }
        };
        tokio::task::spawn_blocking(commit).await.unwrap();
    }

    /// What is committed of a partition: the offset and its metadata.
    pub(super) async fn committed(&self, topic: &str, partition: i32) -> (Option<i64>, String) {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let reader = self.reader();
        let ask = move || reader.committed_offsets(list, PATIENCE).unwrap();
        let list = tokio::task::spawn_blocking(ask).await.unwrap();
        let element = &list.elements()[0];
        let offset = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        (offset, element.metadata().to_owned())
    }

    /// What is committed of the channel, all partitions together.
    pub(super) async fn total(&self) -> i64 {
        let mut total = 0;
        for partition in 0..self.partitions {
            total += self.committed(&self.group.topic, partition).await.0.unwrap_or(0);
        }
        total
    }

    /// Puts `texts` into a partition, in order.
    pub(super) fn publish(&self, partition: i32, texts: impl IntoIterator<Item = u32>) {
        texts.into_iter().for_each(|text| self.put(&self.group.topic, partition, text, None));
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Puts a text into the inbox, to be released at a moment.
    pub(super) fn publish_inbox(&self, tier: i32, text: u32, release: Timestamp) {
        self.put_inbox(tier, text, release);
        self.flush();
    }

    /// The same, to be flushed.
    pub(super) fn put_inbox(&self, tier: i32, text: u32, release: Timestamp) {
        self.put(&self.group.inbox, tier, text, Some(release));
    }

    pub(super) fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }

    /// The same group on other brokers.
    pub(super) fn at(&self, url: &str) -> Self {
        let (url, group) = (url.to_owned(), self.group.clone());
        let (producer, admin) = (Arc::clone(&self.producer), clients().create().unwrap());
        let namespace = Arc::clone(&self.namespace);
        Self { url, namespace, group, partitions: self.partitions, producer, admin }
    }

    fn put(&self, topic: &str, partition: i32, text: u32, release: Option<Timestamp>) {
        let message = Message::new(text.to_string());
        let payload = text.to_string();
        let mut record = BaseRecord::<(), _>::to(topic)
            .partition(partition)
            .payload(&payload)
            .headers(convert::headers(&message, "test", Form::Plain));
        if let Some(release) = release {
            record = record.timestamp(release.as_millis() as i64);
        }
        self.producer.send(record).unwrap();
    }

    /// A removal, as on a dead-letter topic.
    pub(super) fn publish_removal(&self, partition: i32) {
        let topic = &*self.group.topic;
        let record = BaseRecord::<_, [u8]>::to(topic).partition(partition).key("gone");
        self.producer.send(record).unwrap();
        self.producer.flush(PATIENCE).unwrap();
    }

    pub(super) fn table() -> BrokerTable {
        let mut table = BrokerTable::default();
        table.session_timeout.0 = Duration::from_secs(6);
        table
    }

    pub(super) fn wanted(&self, prefetch: usize, table: BrokerTable) -> Attach {
        let namespace = "test".parse().unwrap();
        let topology = Topology { namespace, channels: Vec::new() };
        let request = Connect::new("test", vec![self.url.as_str().into()], topology, soon());
        let name = || "orders".parse().unwrap();
        let (group, consumer) = ("mailer".parse().unwrap(), "mailer".parse().unwrap());
        let hold = Duration::from_secs(600);
        Attach {
            target: Arc::new(Target::new(&request, table).unwrap()),
            clock: polymq_core::system_clock(),
            group: self.group.clone(),
            number: rand::random(),
            broker_events: EventSender::default(),
            subscription: Subscription::new(name(), group, consumer, prefetch, hold),
        }
    }

    pub(super) async fn try_consumer(&self, prefetch: usize) -> Result<KafkaConsumer> {
        KafkaConsumer::attach(self.wanted(prefetch, Self::table()), soon()).await
    }

    pub(super) async fn consumer(&self, prefetch: usize) -> KafkaConsumer {
        self.try_consumer(prefetch).await.unwrap()
    }

    pub(super) async fn consumer_with(
        &self,
        prefetch: usize,
        change: impl FnOnce(&mut BrokerTable),
    ) -> KafkaConsumer {
        let mut table = Self::table();
        change(&mut table);
        KafkaConsumer::attach(self.wanted(prefetch, table), soon()).await.unwrap()
    }
}

pub(super) fn text(delivery: &Delivery) -> u32 {
    let payload = delivery.message.payload().expect("every message here has a payload");
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

pub(super) fn texts(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries.iter().map(text).collect()
}

/// Receives until there are `count`.
pub(super) async fn receive(consumer: &KafkaConsumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        let more = timeout(PATIENCE, consumer.recv(count - deliveries.len())).await;
        let more = more.unwrap_or_else(|_| {
            panic!("{} of {count} came; {:?}", deliveries.len(), consumer.status())
        });
        deliveries.extend(more.unwrap());
    }
    deliveries
}

pub(super) async fn nothing_comes(consumer: &KafkaConsumer) -> bool {
    timeout(QUIET, consumer.recv(100)).await.is_err()
}

pub(super) async fn settle(
    consumer: &KafkaConsumer,
    deliveries: &[Delivery],
    how: Settlement,
) -> Vec<Option<ErrorKind>> {
    let settlements: Vec<_> = deliveries.iter().map(|d| (d.token, how)).collect();
    let results = consumer.settle(&settlements, soon()).await;
    results.into_iter().map(|r| r.err().map(|error| error.kind())).collect()
}

pub(super) async fn ack(consumer: &KafkaConsumer, deliveries: &[Delivery]) {
    let results = settle(consumer, deliveries, Settlement::Ack).await;
    assert!(results.iter().all(Option::is_none), "{results:?}");
}

pub(super) async fn release(consumer: &KafkaConsumer, deliveries: &[Delivery]) {
    let results = settle(consumer, deliveries, Settlement::Release).await;
    assert!(results.iter().all(Option::is_none), "{results:?}");
}

/// Waits for an event that is wanted.
pub(super) async fn event<T>(events: &mut Events, want: impl Fn(Event) -> Option<T>) -> T {
    let waiting = async {
        loop {
            let event = events.recv().await.expect("the consumer lives on");
            if let Some(found) = want(event) {
                return found;
            }
        }
    };
    timeout(PATIENCE, waiting).await.expect("the event comes")
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = soon();
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
