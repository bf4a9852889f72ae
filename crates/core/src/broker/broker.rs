use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Admin, Capabilities, ChannelSpec, Consumer, Events, Outcome, Send, Subscription};
use crate::Result;

/// What is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// The broker's name in the configuration.
    pub name: String,
    /// The value of `messaging.system` in the OpenTelemetry conventions: `rabbitmq`, `kafka`,
    /// `aws_sqs`, `nats`, `memory`.
    pub system: &'static str,
    /// The product and its running version, such as `RabbitMQ 4.3.6`.
    pub product: String,
    /// Where it is, without credentials.
    pub address: String,
    /// What a confirmed publish has survived, in a sentence.
    pub durability: &'static str,
}

/// A connected broker.
///
/// One value stands for all connections of one `[broker]` table. It reconnects by itself and says
/// so in [`events`](Broker::events). All methods can be called at the same time from many tasks.
#[async_trait]
pub trait Broker: fmt::Debug + std::marker::Send + Sync + 'static {
    /// What is at the other end. Constant for the life of the value.
    fn info(&self) -> &BrokerInfo;

    /// What the broker, at its running version, can do for a channel of this shape, with limits.
    fn capabilities(&self, channel: &ChannelSpec) -> Capabilities;

    /// Publishes a batch and resolves when the fate of every send is known: one outcome each, in
    /// the order of the sends.
    ///
    /// - Destinations may be mixed. Sends to one channel keep their order, and with it their order
    ///   per key, as far as [`Capability::OrderedPipelining`](super::Capability) goes: once a send
    ///   is rejected as full, later ones of the call to the same channel are rejected too.
    /// - *Confirmed* only when the broker has confirmed. A send to a retry inbox or a dead-letter
    ///   channel that does not exist is never confirmed.
    /// - While disconnected, sends wait for the connection until `deadline`; then they are
    ///   *rejected* if they were never written, else *unconfirmed*. After a reconnect, what was
    ///   unconfirmed is sent again under the same id.
    /// - Returns at `deadline` at the latest.
    /// - Dropping the future leaves every send of the batch unconfirmed: it may still be sent.
    async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome>;

    /// Attaches a consumer to a group's two sources, the channel and the retry inbox.
    ///
    /// # Errors
    /// `NotFound` when the topology is missing; the connection's errors.
    async fn subscribe(&self, subscription: Subscription) -> Result<Arc<dyn Consumer>>;

    /// What happens to the connection from now on.
    fn events(&self) -> Events;

    /// The operator's side.
    fn admin(&self) -> &dyn Admin;

    /// Flushes what was accepted for publishing, then disconnects; afterwards every operation
    /// fails with `Closed`. Consumers are to be closed before. Returns at `deadline` at the latest.
    ///
    /// # Errors
    /// `Timeout` when something was left unflushed. The broker is closed all the same.
    async fn close(&self, deadline: Instant) -> Result<()>;
}
