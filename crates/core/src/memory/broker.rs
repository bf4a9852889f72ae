use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::consume::MemoryConsumer;
use super::error;
use super::server::MemoryServer;
use crate::Result;
use crate::broker::{
    Admin, Broker, BrokerInfo, Capabilities, Capability, ChannelSpec, Connect, Consumer,
    EventSender, Events, Limits, Outcome, Send, Subscription,
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
            product: concat!("polymq memory ", env!("CARGO_PKG_VERSION")).to_owned(),
            address: format!("memory://{address}"),
            durability: "in the memory of this process: survives consumers and connections, not the process",
        };
        let connection = Connection {
            space: server.space(&request.topology.namespace),
            topology: request.topology,
            clock: request.clock,
            info,
            capabilities: capabilities(&server),
            epoch: server.next_connection(),
            closed: CancellationToken::new(),
            events: EventSender::default(),
            server,
        };
        Self { connection: Arc::new(connection) }
    }
}

/// What the server can do for any channel.
fn capabilities(server: &MemoryServer) -> Capabilities {
    let options = server.options();
    let all = Capabilities::of(Capability::ALL.iter().copied())
        .without(
            Capability::Priority,
            "the memory broker hands out in order of arrival",
            "use a channel per priority",
        )
        .without(
            Capability::Replicas,
            "the memory broker lives in one process",
            "remove `replicas`, or use a broker with several nodes",
        )
        .with_limits(Limits {
            max_message_bytes: options.max_message_bytes,
            max_delay: options.max_delay,
            lease: Some(options.lease),
            ..Limits::default()
        });
    options.lacks.iter().fold(all, |rest, lacking| {
        rest.without(
            *lacking,
            format!("this memory broker was told to lack `{lacking}`"),
            format!("remove `{lacking}` from `lacks` in [broker.memory], or the need for it"),
        )
    })
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
