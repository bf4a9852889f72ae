use std::sync::Arc;

use super::{Message, Timestamp, hop};
use crate::Error;
use crate::broker::Token;

/// Where in the broker a message lies: a partition (0 where there are none) and an offset or
/// sequence within it. Brokers without positions (RabbitMQ, SQS) give none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset or sequence number within the partition.
    pub offset: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// Which of a group's two sources a delivery came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The channel itself.
    Channel,
    /// The group's retry inbox. Only here are polymq's attempt headers trusted.
    RetryInbox,
}

/// A received message, with what the broker says about this hand-out of it.
///
/// Adapters build it; the pipeline is the only one to settle it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// The message, with polymq's own headers still in it.
    pub message: Message,
    /// Stands for this hand-out when it is settled.
    pub token: Token,
    /// The channel or the retry inbox.
    pub origin: Origin,
    /// Where it lay; `None` where the broker has no positions.
    pub position: Option<Position>,
    /// How often the broker has handed it out, this time included; `None` where it doesn't count.
    /// Hand-outs that ended in a release need not count; those that no handler saw may.
    pub delivery_count: Option<u32>,
    /// The broker has handed it out before. A broker without this knowledge says `false`.
    pub redelivered: bool,
    /// Why the bytes on the wire could not be read as a message. The message then holds what could
    /// be read, and the raw body as its payload; it is dead-lettered as it is.
    pub malformed: Option<Arc<Error>>,
}

impl Delivery {
    /// A first hand-out from the channel, without a position or a count.
    #[must_use]
    pub fn new(message: Message, token: Token) -> Self {
        Self {
            message,
            token,
            origin: Origin::Channel,
            position: None,
            delivery_count: None,
            redelivered: false,
            malformed: None,
        }
    }

    /// 1 for the first try, one more for each recorded failure.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        match self.origin {
            Origin::Channel => 1,
            Origin::RetryInbox => hop::attempt(self.message.headers()),
        }
    }

    /// Not to be handled before this moment.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        match self.origin {
            Origin::Channel => self.message.deliver_at(),
            Origin::RetryInbox => {
                hop::due(self.message.headers()).or_else(|| self.message.deliver_at())
            }
        }
    }
}
