//! A virtual host of a test's own on a RabbitMQ.

mod management;
mod partitions;

use std::collections::BTreeMap;

use async_trait::async_trait;
use polymq_core::Running;
use polymq_testkit::containers::{Container, RabbitmqServer, Vhost};

pub use management::Management;

use super::{Place, Site};

/// A virtual host that one test has for itself.
#[derive(Debug)]
pub struct Rabbitmq {
    vhost: Vhost,
    server: RabbitmqServer,
}

impl Rabbitmq {
    /// The namespace of every test: each has a virtual host of its own.
    pub const NAMESPACE: &str = "test";

    /// A place on the broker that all tests of the series share.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn place(series: &str) -> Place<Self> {
        Place::on(Box::new(Self::new(series, None).await))
    }

    pub(super) async fn new(series: &str, purpose: Option<&str>) -> Self {
        let server = match purpose {
            None => RabbitmqServer::series(series).await,
            Some(purpose) => RabbitmqServer::dedicated(series, purpose).await,
        };
        let server = server.unwrap_or_else(|e| panic!("{e:?}"));
        let vhost = server.vhost().await.unwrap_or_else(|e| panic!("{e:?}"));
        Self { vhost, server }
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &Vhost {
        &self.vhost
    }

    /// The broker's management API, for this virtual host.
    #[must_use]
    pub fn management(&self) -> Management {
        Management::new(self.server.management_url(), self.vhost.name())
    }

    fn url_of(&self, user: &str, password: &str, address: &str) -> String {
        format!("amqp://{user}:{password}@{address}/{}", self.vhost.name())
    }
}

#[async_trait]
impl Site for Rabbitmq {
    fn label(&self) -> String {
        format!("RabbitMQ {}", self.server.version())
    }

    fn url(&self) -> String {
        self.vhost.url().to_owned()
    }

    fn address(&self) -> String {
        let after_user = self.vhost.url().rsplit('@').next().unwrap_or_default();
        after_user.split('/').next().unwrap_or_default().to_owned()
    }

    fn url_as(&self, user: &str, password: &str) -> String {
        self.url_of(user, password, &self.address())
    }

    fn url_at(&self, address: &str) -> String {
        self.url_of("guest", "guest", address)
    }

    fn namespace(&self) -> &str {
        Self::NAMESPACE
    }

    fn container(&self) -> Option<&Container> {
        self.server.container()
    }

    async fn restart(&self) -> polymq_core::Result<()> {
        self.server.restart().await
    }

    /// `Admin::depth` cannot tell: groups share their delay queues.
    async fn delayed(&self, _: &Running, _: &str) -> u64 {
        self.vhost.delayed().await.unwrap_or_else(|e| panic!("{e:?}"))
    }

    async fn partitions(
        &self,
        running: &Running,
        channel: &str,
        keys: &[String],
    ) -> BTreeMap<String, usize> {
        partitions::of(&self.management(), running, channel, keys).await
    }
}
