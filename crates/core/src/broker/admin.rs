use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::Plan;
use crate::Result;
use crate::model::{ChannelName, GroupName, Message, Position, Timestamp};

/// Something on the broker that holds messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// What a group has not handled yet. A queue's group carries the queue's name.
    Group {
        /// The channel.
        channel: ChannelName,
        /// The group.
        group: GroupName,
    },
    /// What waits in a group's retry inbox.
    RetryInbox {
        /// The channel.
        channel: ChannelName,
        /// The group.
        group: GroupName,
    },
    /// A dead-letter channel.
    DeadLetter(ChannelName),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { channel, group } => write!(f, "group `{group}` on channel `{channel}`"),
            Self::RetryInbox { channel, group } => {
                write!(f, "retry inbox of group `{group}` on channel `{channel}`")
            }
            Self::DeadLetter(channel) => write!(f, "dead-letter channel `{channel}`"),
        }
    }
}

/// Where a group starts, or is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StartPosition {
    /// After everything that is there now.
    #[default]
    Latest,
    /// Before everything that is still there.
    Earliest,
    /// At the first message published at or after this moment.
    Timestamp(Timestamp),
    /// At this offset or sequence, of one partition.
    Position(Position),
}

/// How much a source holds, as far as the broker tells. Approximate where it only approximates (SQS).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// Ready to be handed out: on a log, the lag.
    pub ready: u64,
    /// Handed out and not yet settled. `None`: the broker doesn't tell.
    pub in_flight: Option<u64>,
    /// Waiting for their time. `None`: the broker doesn't tell; RabbitMQ's groups share their delay
    /// queues.
    pub delayed: Option<u64>,
}

impl Depth {
    /// Only what is ready.
    #[must_use]
    pub fn ready(ready: u64) -> Self {
        Self { ready, ..Self::default() }
    }

    /// Everything that the broker tells of, together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ready + self.in_flight.unwrap_or_default() + self.delayed.unwrap_or_default()
    }
}

/// What a group has not handled of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition; 0 where there are none.
    pub partition: u32,
    /// How many messages, those in flight included.
    pub messages: u64,
}

/// Names a peeked message to [`Browse::remove`]. The field is the adapter's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeekHandle(pub String);

/// A message that was looked at, not consumed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Peeked {
    /// Names it to [`Browse::remove`].
    pub handle: PeekHandle,
    /// The message, with polymq's own headers.
    pub message: Message,
    /// Where it lies, where the broker has positions.
    pub position: Option<Position>,
    /// When it is due, where it waits.
    pub due: Option<Timestamp>,
}

impl Peeked {
    /// A peeked message without a position.
    #[must_use]
    pub fn new(handle: PeekHandle, message: Message) -> Self {
        Self { handle, message, position: None, due: None }
    }
}

/// The operator's side of a broker, apart from the hot path.
///
/// Methods that a broker lacks fail with `Unsupported`, as its capabilities say beforehand.
#[async_trait]
pub trait Admin: fmt::Debug + Send + Sync {
    /// Compares the topology that the configuration implies with the broker. Changes nothing and
    /// needs read rights only.
    ///
    /// # Errors
    /// The connection's errors; `PermissionDenied` where even reading is not allowed.
    async fn plan(&self) -> Result<Plan>;

    /// Creates what `plan` says is missing. Never changes or deletes an existing object. Applying
    /// the same plan twice, or from several processes at once, ends in the same topology.
    ///
    /// # Errors
    /// `TopologyMismatch` when an object differs, before anything is created; `PermissionDenied`.
    async fn apply(&self, plan: &Plan) -> Result<()>;

    /// How much a source holds.
    ///
    /// # Errors
    /// `NotFound` for a source that is not there.
    async fn depth(&self, source: &Source) -> Result<Depth>;

    /// What is not handled yet of a source, by partition: one that lags behind the others has a slow key, or
    /// no consumer. A broker that doesn't tell partitions apart tells of one, with all that it tells of.
    ///
    /// # Errors
    /// As [`depth`](Admin::depth).
    async fn lag(&self, source: &Source) -> Result<Vec<PartitionLag>> {
        let messages = self.depth(source).await?.total();
        Ok(vec![PartitionLag { partition: 0, messages }])
    }

    /// Looks at a source's messages without consuming them.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for a `from` that the broker cannot start at.
    async fn browse(&self, source: &Source, from: StartPosition) -> Result<Box<dyn Browse>>;

    /// Deletes everything that waits in a source, and says how many those were. What is in flight
    /// stays in flight. On a log a group is moved to the end instead.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported`; `TopologyMismatch` where a group cannot be moved while it has members.
    async fn purge(&self, source: &Source) -> Result<u64>;

    /// Moves a group: what lies after the new position is handed out (again). The retry inbox is
    /// not touched.
    ///
    /// # Errors
    /// `Unsupported` where the broker cannot replay; `NotFound` for an offset that is gone;
    /// `TopologyMismatch` where a group cannot be moved while it has members.
    async fn seek(&self, channel: &ChannelName, group: &GroupName, to: StartPosition)
    -> Result<()>;

    /// A round trip.
    ///
    /// # Errors
    /// The connection's errors.
    async fn ping(&self) -> Result<Duration>;
}

/// A look at a source. Dropping it gives everything back.
#[async_trait]
pub trait Browse: fmt::Debug + Send {
    /// The next messages, at most `max`; none at the end.
    ///
    /// # Errors
    /// The connection's errors.
    async fn next(&mut self, max: usize) -> Result<Vec<Peeked>>;

    /// Deletes peeked messages: a result each.
    ///
    /// Each result fails with `NotFound` for a message that has gone since it was peeked.
    async fn remove(&mut self, handles: &[PeekHandle]) -> Vec<Result<()>>;

    /// Ends the look and gives everything back.
    ///
    /// # Errors
    /// The connection's errors: what was peeked comes back when the broker notices.
    async fn close(self: Box<Self>) -> Result<()>;
}
