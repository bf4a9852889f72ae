//! A namespace of its own on the broker, and what lies in its topics afterwards.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polymq_core::broker::{
    ChannelRole, ChannelSpec, Connect, Credentials, Destination, EventSender, Outcome, Send,
    Topology,
};
use polymq_core::config::Settings;
use polymq_core::{ChannelName, Message, Namespace, system_clock};
use polymq_testkit::containers::{KafkaNamespace, KafkaServer};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::config::BrokerTable;
use crate::layout::Layout;
use crate::publish::Publisher;
use crate::target::Target;
use crate::tiers;

pub(super) const CHANNEL: &str = "orders";
pub(super) const DEAD: &str = "orders-dead";

/// Far enough away not to matter.
const LATER: Duration = Duration::from_secs(20);

pub(super) fn soon() -> Instant {
    Instant::now() + LATER
}

pub(super) fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

/// A send to the channel.
pub(super) fn to_channel(message: Message) -> Send {
    Send::new(Destination::Channel(channel(CHANNEL)), message)
}

/// Queue `orders` with 12 partitions, and a dead-letter channel.
pub(super) struct Scene {
    pub(super) topology: Topology,
    pub(super) events: EventSender,
    /// Where publishers go.
    url: String,
    /// Where the topics are made and read; it removes them.
    namespace: Option<KafkaNamespace>,
}

impl Scene {
    /// On librdkafka's simulation of a cluster, or none at all.
    pub(super) fn at(url: String) -> Self {
        let namespace = Namespace::new(format!("t{:016x}", rand::random::<u64>())).unwrap();
        Self::named(url, namespace, None)
    }

    /// Without topics.
    pub(super) async fn bare() -> Self {
        Self::within(&KafkaServer::shared().await.unwrap())
    }

    fn within(server: &KafkaServer) -> Self {
        let namespace = server.namespace().unwrap();
        Self::named(namespace.url(), namespace.name().clone(), Some(namespace))
    }

    fn named(url: String, namespace: Namespace, owned: Option<KafkaNamespace>) -> Self {
        let channels =
            vec![ChannelSpec::queue(channel(CHANNEL)), ChannelSpec::dead_letter(channel(DEAD))];
        let topology = Topology { namespace, channels };
        Self { topology, events: EventSender::default(), url, namespace: owned }
    }

    /// With topics.
    pub(super) async fn new() -> Self {
        Self::on(&KafkaServer::shared().await.unwrap()).await
    }

    /// With topics, on this broker.
    pub(super) async fn on(server: &KafkaServer) -> Self {
        let scene = Self::within(server);
        for spec in &scene.topology.channels {
            let partitions = match spec.role {
                ChannelRole::Application => 12,
                ChannelRole::DeadLetter => 1,
            };
            scene.create(&scene.name(spec.name.as_str()), partitions, &[]).await;
        }
        let after = i64::MAX.to_string();
        let inbox = scene.name("orders._retry");
        scene
            .create(&inbox, tiers::COUNT, &[("message.timestamp.after.max.ms", after.as_str())])
            .await;
        scene
    }

    /// As `alice` from now on, who has to log in.
    pub(super) fn as_alice(&mut self, server: &KafkaServer) {
        let address = server.sasl_address().expect("a broker of the tests' own, with users");
        self.url = format!("kafka://alice:alice@{address}");
    }

    /// The topic of this name in the namespace.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.topology.namespace)
    }

    pub(super) async fn create(&self, name: &str, partitions: u32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let mut topic =
            NewTopic::new(name, i32::try_from(partitions).unwrap(), TopicReplication::Fixed(1))
                .set("retention.ms", "-1");
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let created = admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap();
        created[0].as_ref().unwrap();
    }

    fn client(&self) -> ClientConfig {
        let url = self.namespace.as_ref().map_or_else(|| self.url.clone(), KafkaNamespace::url);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", url.trim_start_matches("kafka://"));
        config
    }

    /// A publisher with these settings of `[broker.kafka]`.
    pub(super) fn publisher(&self, table: &str) -> Publisher {
        self.publisher_with(table, None)
    }

    pub(super) fn publisher_with(
        &self,
        table: &str,
        credentials: Option<Arc<dyn Credentials>>,
    ) -> Publisher {
        let urls = vec![self.url.clone().into()];
        let mut request = Connect::new("test", urls, self.topology.clone(), soon());
        request.credentials = credentials.unwrap_or(request.credentials);
        let table = BrokerTable::read(&Settings::from_toml(table).unwrap()).unwrap();
        let target = Arc::new(Target::new(&request, table).unwrap());
        let layout = Arc::new(Layout::new(&self.topology).unwrap());
        Publisher::new(target, layout, system_clock(), self.events.clone()).unwrap()
    }

    /// Everything that lies in a topic, partition by partition.
    pub(super) async fn stored(&self, topic: &str) -> Vec<OwnedMessage> {
        let (config, topic) = (self.client(), topic.to_owned());
        tokio::task::spawn_blocking(move || read(config, &topic)).await.unwrap()
    }
}

fn read(mut config: ClientConfig, topic: &str) -> Vec<OwnedMessage> {
    let wait = Duration::from_secs(10);
    let consumer: BaseConsumer =
        config.set("group.id", "test").set("enable.auto.commit", "false").create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), wait).unwrap();
    let mut list = TopicPartitionList::new();
    let mut missing = 0;
    for partition in metadata.topics()[0].partitions() {
        let (start, end) = consumer.fetch_watermarks(topic, partition.id(), wait).unwrap();
        missing += end - start;
        list.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut stored = Vec::new();
    for _ in 0..missing {
        stored.push(consumer.poll(wait).expect("a record within reach").unwrap().detach());
    }
    stored.sort_by_key(|record| (record.partition(), record.offset()));
    stored
}

/// A message whose payload is its number.
pub(super) fn numbered(number: usize, key: &str) -> Send {
    to_channel(
        Message::new(number.to_string()).with_id(format!("m-{number}")).with_key(key.to_owned()),
    )
}

/// The numbers of messages of one key, as they lie in their partition.
pub(super) fn numbers(stored: &[OwnedMessage], key: &str) -> Vec<usize> {
    let of_key = stored.iter().filter(|message| message.key() == Some(key.as_bytes()));
    of_key
        .map(|message| String::from_utf8_lossy(message.payload().unwrap()).parse().unwrap())
        .collect()
}

pub(super) fn confirmed(outcomes: &[Outcome]) {
    for outcome in outcomes {
        assert!(outcome.is_confirmed(), "{outcome:?}");
    }
}

pub(super) fn bytes(text: &'static [u8]) -> Bytes {
    Bytes::from_static(text)
}
