use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Admin, Capabilities, ChannelSpec, Consumer, Events, Outcome, Send, Subscription};
use crate::Result;
use crate::model::Message;

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
    /// What is at the other end, as of the first connection.
    fn info(&self) -> &BrokerInfo;

    /// What the broker, at its running version, can do for a channel of this shape, with limits.
    /// Limits that are attributes of objects may be sharper once the topology was planned.
    fn capabilities(&self, channel: &ChannelSpec) -> Capabilities;

    /// The bytes of a message as they count against this broker's `max_message_bytes`, whatever its
    /// wire format adds.
    fn wire_size(&self, message: &Message) -> usize;

    /// Publishes a batch and resolves when the fate of every send is known: one outcome each, in
    /// the order of the sends.
    ///
    /// - A batch may have any length, and destinations may be mixed; the adapter bounds what it has
    ///   in flight.
    /// - Sends are taken in order when the future is first polled. With
    ///   [`Capability::OrderedPipelining`](super::Capability) that is the order per key, also across
    ///   calls; once a send is rejected as full, later ones of the call to the same channel are
    ///   rejected too. Without it, the caller never has two unconfirmed sends of one key.
    /// - *Confirmed* only when the broker has confirmed. A send to a retry inbox or a dead-letter
    ///   channel that does not exist is never confirmed, unless the message is kept where health
    ///   reports it.
    /// - *Rejected* only when the message is certainly nowhere: a topic that some groups refused is
    ///   unconfirmed.
    /// - While disconnected, sends wait for the connection until `deadline`; then they are
    ///   *rejected* if they were never written, else *unconfirmed*. After a reconnect, what was
    ///   unconfirmed is sent again under the same id.
    /// - Returns at `deadline` at the latest.
    /// - Dropping the future leaves every send of the batch unconfirmed: it may still be sent.
    async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome>;

    /// Attaches a consumer to a group's two sources, the channel and the retry inbox.
    ///
    /// # Errors
    /// `NotFound` when the topology is missing; `Timeout` at the deadline; the connection's errors.
    async fn subscribe(
        &self,
        subscription: Subscription,
        deadline: Instant,
    ) -> Result<Arc<dyn Consumer>>;

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
