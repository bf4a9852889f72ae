use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::broker::Source;
use polymq_core::{ChannelName, GroupName, Running};
use polymq_testkit::containers::{Container, KafkaNamespace, KafkaServer};

use super::site::publish_each;
use super::{Place, Site};
use crate::bed::{depth_of_inbox, peek};

/// A namespace of one test's own on a Kafka.
#[derive(Debug)]
pub struct Kafka {
    namespace: KafkaNamespace,
    server: KafkaServer,
}

impl Kafka {
    /// As [`settings`](Site::settings) say.
    const NOTICES_WITHIN: Duration = Duration::from_secs(6);
    const UNCOMMITTED: u64 = 500;

    /// A place on the broker that all tests of the series share.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn place(series: &str) -> Place<Self> {
        Place::on(Box::new(Self::new(series, None).await))
    }

    pub(super) async fn new(series: &str, purpose: Option<&str>) -> Self {
        let server = match purpose {
            None => KafkaServer::series(series).await,
            Some(purpose) => KafkaServer::dedicated(series, purpose).await,
        };
        let server = server.unwrap_or_else(|e| panic!("{e:?}"));
        let namespace = server.namespace().unwrap_or_else(|e| panic!("{e:?}"));
        Self { namespace, server }
    }

    /// The broker.
    #[must_use]
    pub fn server(&self) -> &KafkaServer {
        &self.server
    }

    /// The topic of a channel, and the consumer group of a queue.
    #[must_use]
    pub fn topic(&self, channel: &str) -> String {
        format!("{}.{channel}", self.namespace.name())
    }

    /// Runs one of Kafka's own tools in the broker's container; what it printed.
    ///
    /// # Panics
    /// With what it complained of.
    pub async fn tool(&self, name: &str, arguments: &[&str]) -> String {
        self.server.tool(name, arguments).await.unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// Changes settings of a channel's topic.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn alter_topic(&self, channel: &str, settings: &str) {
        let topic = self.topic(channel);
        let entity = ["--alter", "--entity-type", "topics", "--entity-name", &topic];
        self.tool("kafka-configs", &[&entity[..], &["--add-config", settings]].concat()).await;
    }

    /// Runs a script in the broker's container.
    ///
    /// # Panics
    /// With what it complained of.
    pub async fn shell(&self, script: &str) -> String {
        let container = self.container().unwrap_or_else(|| panic!("no container of ours"));
        container.run(&["sh", "-c", script]).await.unwrap_or_else(|e| panic!("{e:?}"))
    }
}

#[async_trait]
impl Site for Kafka {
    fn label(&self) -> String {
        format!("Kafka {}", self.server.version())
    }

    fn url(&self) -> String {
        self.namespace.url()
    }

    fn address(&self) -> String {
        self.server.address().to_owned()
    }

    fn url_as(&self, user: &str, password: &str) -> String {
        let address = self.server.sasl_address();
        let address = address.unwrap_or_else(|| panic!("a broker whose users are unknown"));
        format!("kafka://{user}:{password}@{address}")
    }

    /// What is in between sees the first connection only: the broker says where it is.
    fn url_at(&self, address: &str) -> String {
        format!("kafka://{address}")
    }

    fn namespace(&self) -> &str {
        self.namespace.name().as_str()
    }

    fn settings(&self) -> &str {
        "broker.kafka.session_timeout = \"6s\"\nbroker.kafka.max_uncommitted = 500"
    }

    fn notices_within(&self) -> Duration {
        Self::NOTICES_WITHIN
    }

    fn uncommitted(&self) -> u64 {
        Self::UNCOMMITTED
    }

    fn repeated_by_handover(&self, in_hand: u64) -> u64 {
        in_hand
    }

    fn container(&self) -> Option<&Container> {
        self.server.container()
    }

    async fn restart(&self) -> polymq_core::Result<()> {
        self.server.restart().await
    }

    async fn delayed(&self, running: &Running, channel: &str) -> u64 {
        depth_of_inbox(running, channel).await
    }

    async fn partitions(
        &self,
        running: &Running,
        channel: &str,
        keys: &[String],
    ) -> BTreeMap<String, usize> {
        publish_each(running, channel, keys).await;
        let name = ChannelName::new(channel).unwrap_or_else(|e| panic!("{e}"));
        let source = Source::Group { group: GroupName::from(&name), channel: name };
        let sent = peek(running, channel, source).await.into_iter().filter_map(|peeked| {
            let key = String::from_utf8(peeked.message.key()?.to_vec()).ok()?;
            Some((key, peeked.position?.partition as usize))
        });
        sent.collect()
    }
}
