use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Events, Send};
use crate::Result;
use crate::model::{ChannelName, ConsumerName, Delivery, GroupName};

/// What a consumer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// The channel.
    pub channel: ChannelName,
    /// The group. A queue's group carries the queue's name.
    pub group: GroupName,
    /// The consumer's name in the configuration: for logs and for the broker's own lists.
    pub consumer: ConsumerName,
    /// The most deliveries that may be handed out and unsettled at once, both sources together.
    pub prefetch: usize,
    /// The longest that a delivery may stay unsettled, for brokers that take it away after a time
    /// of their own unless told (RabbitMQ's `consumer_timeout`).
    pub max_hold: Duration,
}

impl Subscription {
    /// A subscription of `consumer` to `group` on `channel`.
    #[must_use]
    pub fn new(
        channel: ChannelName,
        group: GroupName,
        consumer: ConsumerName,
        prefetch: usize,
        max_hold: Duration,
    ) -> Self {
        Self { channel, group, consumer, prefetch, max_hold }
    }
}

/// Stands for one hand-out of one message: small, `Copy`, and worthless once it is stale.
///
/// The fields are the adapter's; the pipeline reads only the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// Which consumer handed it out.
    pub consumer: u32,
    /// Grows with each loss of the consumer's connection that makes all earlier tokens stale. Constant
    /// where tokens survive a reconnect (Kafka, SQS, NATS, memory), and where some go stale while others
    /// stay good (ordered channels on RabbitMQ): [`Event::LeaseLost`](super::Event) names those.
    pub epoch: u32,
    /// A slot in the adapter's table, or a sequence number.
    pub slot: u64,
    /// Distinguishes the uses of one slot.
    pub generation: u32,
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// Done: never hand it out again.
    Ack,
    /// Not done, and no failure either: hand it out again, to anybody, soon. Spends no attempt.
    Release,
}

/// A settlement and the sends that belong to it, for brokers that can do both at once.
#[derive(Debug)]
pub struct Unit {
    /// The delivery to ack.
    pub token: Token,
    /// The outputs, the retry copy or the dead letter.
    pub sends: Vec<Send>,
}

/// How a consumer is doing, as of now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// The connection is up.
    pub connected: bool,
    /// The broker knows the consumer and would hand messages to it.
    pub attached: bool,
    /// [`Consumer::pause`] is in force.
    pub paused: bool,
    /// Deliveries handed out and not yet settled.
    pub in_flight: usize,
    /// Deliveries fetched from the broker and not yet handed out.
    pub buffered: usize,
}

/// A subscription to one group: its channel and its retry inbox, side by side.
///
/// Neither source starves the other. An adapter whose client must be polled polls it on its own
/// thread, whether or not `recv` is called. Dropping the value is what a crash is: everything
/// unsettled is given back without a word, and counts as handed out once.
#[async_trait]
pub trait Consumer: fmt::Debug + std::marker::Send + Sync + 'static {
    /// Waits for deliveries: at least one, at most `max`, as many as are there at once.
    ///
    /// Cancel-safe: a dropped call loses nothing. One caller at a time; a second one waits. While
    /// `prefetch` deliveries are unsettled it waits for settlements. Deliveries that were buffered
    /// before a reconnect are dropped, and come again from the broker.
    ///
    /// # Errors
    /// `Closed` after [`close`](Consumer::close); `NotFound` when the source was deleted;
    /// authentication errors; after [`Event::Fatal`](super::Event), its reason. Lost connections
    /// are not errors here: the call waits. After any error but `Closed` the call can be repeated.
    ///
    /// What an adapter has buffered keeps its lease, or goes back: a delivery is handed out with at
    /// least half of its lease left. A message that is handed out again while an earlier hand-out is
    /// unsettled has been named in [`Event::LeaseLost`](super::Event) before, or carries a later
    /// epoch. What cannot be read is handed out all the same, as
    /// [`malformed`](Delivery::malformed).
    async fn recv(&self, max: usize) -> Result<Vec<Delivery>>;

    /// Settles a batch: one result per settlement, in order. Resolves when the broker has
    /// confirmed it, where the broker confirms settlements, else when it was written; on a log, when
    /// it is recorded for the next commit, which never waits for other deliveries.
    ///
    /// On an ordered channel, whoever releases a delivery of a key has already released, or does
    /// so in the same call, every later one of that key in hand; they come again in order.
    ///
    /// A release is no retry: it adds no delay. Settling twice never settles another delivery.
    ///
    /// Each result fails with `StaleToken` for a delivery that is no longer this consumer's
    /// (reconnect, lease expiry, settled before): the message will be, or was, handed out again. It
    /// fails with `Timeout` or `Disconnected` when nothing is known by the deadline: the token may be
    /// settled again. Dropping the future means the same for all.
    async fn settle(
        &self,
        settlements: &[(Token, Settlement)],
        deadline: Instant,
    ) -> Vec<Result<()>>;

    /// Renews the lease of these deliveries, so that the broker does not hand them to others. A
    /// result each; a broker without leases says `Ok`.
    async fn extend(&self, tokens: &[Token], deadline: Instant) -> Vec<Result<()>>;

    /// Publishes the sends of each unit and acks its delivery, both or neither: a result each, in
    /// order. Only where the broker has [`Capability::Atomic`](super::Capability); `Unsupported`
    /// elsewhere. A unit without sends is an ack. Many calls may be in flight; on a log a unit may
    /// wait, until the deadline, for earlier deliveries of its partition.
    ///
    /// A unit that failed is to be treated as unsettled: unless the error is permanent, it may still
    /// have happened.
    async fn commit(&self, units: Vec<Unit>, deadline: Instant) -> Vec<Result<()>>;

    /// Stops fetching, at once and without asking the broker; what is in hand stays in hand, and
    /// what is buffered keeps its lease or goes back. Idempotent.
    fn pause(&self);

    /// Fetches again after a [`pause`](Consumer::pause). Idempotent.
    fn resume(&self);

    /// What happens to this consumer from now on: assigned, revoked, lease lost and so on.
    fn events(&self) -> Events;

    /// How it is doing, without asking the broker.
    fn status(&self) -> ConsumerStatus;

    /// Stops intake, flushes settlements, gives back everything unsettled and detaches. After it,
    /// `recv` fails with `Closed`. Returns at `deadline` at the latest.
    ///
    /// # Errors
    /// `Timeout` when settlements were left unflushed: their messages will come again.
    async fn close(&self, deadline: Instant) -> Result<()>;
}
