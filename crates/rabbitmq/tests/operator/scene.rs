//! A virtual host for one test, seen by the adapter and by a client that isn't ours.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use polymq_core::Result;
use polymq_core::broker::{Adapter, Broker, ChannelSpec, Connect, Plan, Topology};
use polymq_core::config::Settings;
use polymq_testkit::containers::{RabbitmqServer, Vhost};
use serde_json::json;
use tokio::time::{Instant, sleep};

pub(crate) const NAMESPACE: &str = "shop";

pub(crate) struct Scene {
    server: RabbitmqServer,
    vhost: Vhost,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let server = RabbitmqServer::shared().await.unwrap();
        let vhost = server.vhost().await.unwrap();
        Self { server, vhost }
    }

    /// A broker for these channels, as the server's administrator.
    pub(crate) async fn broker(&self, channels: Vec<ChannelSpec>) -> Arc<dyn Broker> {
        self.connect(self.vhost.url(), channels, "").await.unwrap()
    }

    /// The same, with this table `[broker.rabbitmq]`.
    pub(crate) async fn configured(
        &self,
        channels: Vec<ChannelSpec>,
        table: &str,
    ) -> Arc<dyn Broker> {
        self.connect(self.vhost.url(), channels, table).await.unwrap()
    }

    /// The same, with the management plugin.
    #[cfg(feature = "management")]
    pub(crate) async fn managed(&self, channels: Vec<ChannelSpec>) -> Arc<dyn Broker> {
        let table = format!("management = '{}'", self.server.management_url());
        self.configured(channels, &table).await
    }

    /// The same, as a user of its own that may not configure anything.
    pub(crate) async fn unprivileged(&self, channels: Vec<ChannelSpec>) -> Arc<dyn Broker> {
        let name = format!("{}-reader", self.vhost.name());
        self.put(&format!("users/{name}"), json!({ "password": "secret", "tags": "" })).await;
        let rights = json!({ "configure": "^$", "write": ".*", "read": ".*" });
        self.put(&format!("permissions/{}/{name}", self.vhost.name()), rights).await;
        let url = self.vhost.url().replace("guest:guest@", &format!("{name}:secret@"));
        self.connect(&url, channels, "").await.unwrap()
    }

    async fn connect(
        &self,
        url: &str,
        channels: Vec<ChannelSpec>,
        table: &str,
    ) -> Result<Arc<dyn Broker>> {
        let topology = Topology { namespace: NAMESPACE.parse()?, channels };
        let deadline = Instant::now() + Duration::from_secs(30);
        let request = Connect::new("rabbit", vec![url.into()], topology, deadline)
            .with_settings(Settings::from_toml(table)?);
        polymq_rabbitmq::adapter().connect(request).await
    }

    async fn put(&self, path: &str, body: serde_json::Value) {
        let url = format!("{}api/{path}", self.server.management_url());
        let request = reqwest::Client::new().put(url).basic_auth("guest", Some("guest"));
        request.json(&body).send().await.unwrap().error_for_status().unwrap();
    }

    /// An AMQP channel of a client that isn't ours.
    pub(crate) async fn foreign(&self) -> Foreign {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(self.vhost.url(), properties).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Foreign { channel, _connection: connection }
    }
}

pub(crate) struct Foreign {
    pub(crate) channel: Channel,
    _connection: Connection,
}

impl Foreign {
    pub(crate) async fn publish(&self, exchange: &str, routing_key: &str) {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let (exchange, key) = (exchange.into(), routing_key.into());
        let sent = self.channel.basic_publish(exchange, key, options, b"hello", properties).await;
        sent.unwrap().await.unwrap();
    }

    /// Waits until so many messages are ready in a queue.
    pub(crate) async fn holds(&self, queue: &str, expected: u32) {
        let mut found = 0;
        for _ in 0..200 {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default());
            found = declared.await.unwrap().message_count();
            if found == expected {
                return;
            }
            sleep(Duration::from_millis(25)).await;
        }
        panic!("`{queue}` holds {found} messages, not {expected}");
    }
}

pub(crate) fn queue(name: &str) -> ChannelSpec {
    ChannelSpec::queue(name.parse().unwrap())
}

pub(crate) fn topic(name: &str, groups: &[&str]) -> ChannelSpec {
    ChannelSpec::topic(name.parse().unwrap(), groups.iter().map(|group| group.parse().unwrap()))
}

pub(crate) fn ordered(channel: ChannelSpec, partitions: u32) -> ChannelSpec {
    let mut channel = channel;
    (channel.ordered, channel.partitions) = (true, partitions);
    channel
}

pub(crate) fn bound(mut channel: ChannelSpec, table: &str) -> ChannelSpec {
    channel.settings = Settings::from_toml(table).unwrap();
    channel
}

/// Plans and applies.
pub(crate) async fn set_up(broker: &dyn Broker) -> Plan {
    let plan = broker.admin().plan().await.unwrap();
    broker.admin().apply(&plan).await.unwrap();
    broker.admin().plan().await.unwrap()
}
