use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::consume::MemoryConsumer;
use super::server::MemoryServer;
use super::{error, facts};
use crate::Result;
use crate::broker::{
    Admin, Broker, BrokerInfo, Capabilities, ChannelSpec, Connect, Consumer, EventSender, Events,
    Outcome, Send, Subscription,
};
use crate::model::Message;

/// A connection to a [`MemoryServer`].
#[derive(Debug)]
pub(super) struct MemoryBroker {
    pub(super) connection: Arc<Connection>,
}

impl MemoryBroker {
    pub(super) fn new(server: MemoryServer, address: &str, request: Connect) -> Self {
        let info = BrokerInfo {
            name: request.name,
            system: "memory",
            product: facts::PRODUCT.to_owned(),
            address: format!("memory://{address}"),
            durability: facts::DURABILITY,
        };
        let connection = Connection {
            space: server.space(&request.topology.namespace),
            topology: request.topology,
            clock: request.clock,
            info,
            capabilities: facts::capabilities(server.options()),
            epoch: server.next_connection(),
            closed: CancellationToken::new(),
            events: EventSender::default(),
            server,
        };
        Self { connection: Arc::new(connection) }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn info(&self) -> &BrokerInfo {
        &self.connection.info
    }

    fn capabilities(&self, _channel: &ChannelSpec) -> Capabilities {
        self.connection.capabilities.clone()
    }

    fn wire_size(&self, message: &Message) -> usize {
        message.size()
    }

    async fn publish(&self, sends: Vec<Send>, _deadline: Instant) -> Vec<Outcome> {
        self.connection.publish(sends)
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
        _deadline: Instant,
    ) -> Result<Arc<dyn Consumer>> {
        self.connection.check_open()?;
        let Subscription { channel, group, .. } = &subscription;
        let (channel, group) = self.connection.group(channel, group).ok_or_else(|| {
            error::no_group(channel, group)
                .with_operation("subscribe")
                .with_broker(&self.connection.info.name)
        })?;
        let connection = Arc::clone(&self.connection);
        let consumer = MemoryConsumer::attach(connection, channel, group, subscription.prefetch);
        Ok(Arc::new(consumer))
    }

    fn events(&self) -> Events {
        self.connection.events.subscribe()
    }

    fn admin(&self) -> &dyn Admin {
        self
    }

    async fn close(&self, _deadline: Instant) -> Result<()> {
        self.connection.closed.cancel();
        Ok(())
    }
}
