//! A namespace for one test, seen by the adapter and by clients that aren't ours.

use std::sync::Arc;
use std::time::Duration;

use polymq_core::Result;
use polymq_core::broker::{
    Adapter, Broker, ChannelSpec, Connect, ObjectState, Plan, Source, Topology,
};
use polymq_core::config::Settings;
use polymq_core::{ChannelName, GroupName, Namespace};
use polymq_testkit::containers::KafkaNamespace;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::fixture::server;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    pub(crate) namespace: Namespace,
    /// It removes the topics at the end.
    _owned: KafkaNamespace,
}

/// A record of somebody else.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Foreign<'a> {
    pub(crate) partition: i32,
    pub(crate) key: Option<&'a str>,
    pub(crate) value: Option<&'a str>,
    pub(crate) timestamp: Option<i64>,
}

pub(crate) fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

pub(crate) fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

/// A queue with this many partitions.
pub(crate) fn queue(name: &str, partitions: u32) -> ChannelSpec {
    let mut spec = ChannelSpec::queue(channel(name));
    spec.partitions = partitions;
    spec
}

/// A topic with this many partitions and these groups.
pub(crate) fn topic(name: &str, partitions: u32, groups: &[&str]) -> ChannelSpec {
    let mut spec = ChannelSpec::topic(channel(name), groups.iter().map(|name| group(name)));
    spec.partitions = partitions;
    spec
}

pub(crate) fn group_source(of: &str, by: &str) -> Source {
    Source::Group { channel: channel(of), group: group(by) }
}

pub(crate) fn inbox(of: &str, by: &str) -> Source {
    Source::RetryInbox { channel: channel(of), group: group(by) }
}

pub(crate) fn dead_letters(of: &str) -> Source {
    Source::DeadLetter(channel(of))
}

impl Scene {
    pub(crate) fn new() -> Self {
        let owned = server().namespace().unwrap();
        Self { namespace: owned.name().clone(), _owned: owned }
    }

    /// The name of a topic or group in this scene's namespace.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.namespace)
    }

    /// A broker for these channels.
    pub(crate) async fn broker(&self, channels: Vec<ChannelSpec>) -> Arc<dyn Broker> {
        self.connect(&server().url(), channels, Duration::from_secs(30)).await.unwrap()
    }

    /// The same, with everything that its plan names.
    pub(crate) async fn applied(&self, channels: Vec<ChannelSpec>) -> Arc<dyn Broker> {
        let broker = self.broker(channels).await;
        let plan = broker.admin().plan().await.unwrap();
        broker.admin().apply(&plan).await.unwrap();
        broker
    }

    pub(crate) async fn connect(
        &self,
        url: &str,
        channels: Vec<ChannelSpec>,
        patience: Duration,
    ) -> Result<Arc<dyn Broker>> {
        let topology = Topology { namespace: self.namespace.clone(), channels };
        let request = Connect::new("kafka", vec![url.into()], topology, Instant::now() + patience)
            .with_settings(Settings::from_toml("")?);
        polymq_kafka::adapter().connect(request).await
    }

    fn client(&self) -> ClientConfig {
        let servers = server().address();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("allow.auto.create.topics", "false");
        config
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        self.client().set("group.id", group).set("enable.auto.commit", "false").create().unwrap()
    }

    /// Creates a topic as its owner would.
    pub(crate) async fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        admin.create_topics([&new], &options).await.unwrap()[0].clone().unwrap();
    }

    /// A setting of a topic.
    pub(crate) async fn setting(&self, topic: &str, name: &str) -> String {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let asked = [ResourceSpecifier::Topic(topic)];
        let mut found = admin.describe_configs(&asked, &AdminOptions::new()).await.unwrap();
        found.remove(0).unwrap().get(name).unwrap().value.clone().unwrap()
    }

    /// Writes records as somebody else would.
    pub(crate) fn write(&self, topic: &str, records: &[Foreign<'_>]) {
        let producer: BaseProducer = self.client().create().unwrap();
        for record in records {
            let mut new = BaseRecord::<str, str>::to(topic).partition(record.partition);
            (new.key, new.payload, new.timestamp) = (record.key, record.value, record.timestamp);
            producer.send(new).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// The committed offsets of a group; `None` where there is none.
    pub(crate) fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let found = self.consumer(group).committed_offsets(asked, PATIENCE).unwrap();
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        found.elements().iter().map(|element| offset(element.offset())).collect()
    }

    /// Commits as the group, which has no members.
    pub(crate) fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.consumer(group).commit(&offsets, CommitMode::Sync).unwrap();
    }

    /// A member of a group, once it has its share of a topic.
    pub(crate) fn member(&self, group: &str, topic: &str) -> BaseConsumer {
        let consumer = self.consumer(group);
        consumer.subscribe(&[topic]).unwrap();
        while consumer.assignment().unwrap().count() == 0 {
            drop(consumer.poll(Duration::from_millis(50)));
        }
        consumer
    }

    /// Ends what Kafka remembers of a group.
    pub(crate) async fn forget(&self, group: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        admin.delete_groups(&[group], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    }
}

/// How an object of a plan stands.
pub(crate) fn state(plan: &Plan, kind: &str, name: &str) -> ObjectState {
    let mut objects = plan.objects.iter();
    objects.find(|o| o.kind == kind && o.name == name).unwrap().state.clone()
}

/// The fields in which objects of a plan differ.
pub(crate) fn differences(plan: &Plan) -> Vec<String> {
    plan.differing().flat_map(|(_, all)| all.iter().map(|d| d.field.clone())).collect()
}
