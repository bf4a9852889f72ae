//! The broker, and the topics that both sides use.

use polymq_testkit::containers::{KafkaNamespace, KafkaServer};
use rdkafka::ClientConfig;

use crate::common::WINDOW;

/// A place of the benchmark's own on the broker.
pub(crate) struct Place {
    address: String,
    version: String,
    namespace: KafkaNamespace,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let server = KafkaServer::shared().await.unwrap();
        Self {
            address: server.address().to_owned(),
            version: server.version().to_owned(),
            namespace: server.namespace().unwrap(),
        }
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The topic of a channel, or the name of a group.
    pub(crate) fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.namespace.name())
    }

    /// A client's configuration, without more than where the broker is.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    /// What is published as `orders` nobody consumes: `jobs` are read by both sides.
    pub(crate) fn config(&self) -> String {
        format!(
            "namespace = '{}'\n\
             [broker]\nurl = '{}'\n\
             [channels.orders]\nkind = 'queue'\n\
             [channels.jobs]\nkind = 'queue'\n\
             [consumers.reader]\nchannel = 'jobs'\nprefetch = {WINDOW}\nconcurrency = 32\n\
             retry = {{ immediate = 0, delayed = 0 }}\n",
            self.namespace.name(),
            self.namespace.url(),
        )
    }
}
