use std::fmt;

use crate::Error;
use crate::model::{ChannelName, GroupName, Message, MessageId, Position, Timestamp};

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Destination {
    /// A channel: a queue, or every group of a topic.
    Channel(ChannelName),
    /// The retry inbox of one group; outside the channel's `max_bytes` and `retention`.
    RetryInbox {
        /// The channel that the group consumes.
        channel: ChannelName,
        /// The group.
        group: GroupName,
    },
    /// A dead-letter channel: what lies there never expires. An adapter must not report a send to
    /// one that does not exist as confirmed.
    DeadLetter(ChannelName),
}

impl Destination {
    /// The channel that the destination belongs to; a destination outside all channels has none.
    #[must_use]
    pub fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::Channel(channel)
            | Self::RetryInbox { channel, .. }
            | Self::DeadLetter(channel) => Some(channel),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "channel `{channel}`"),
            Self::RetryInbox { channel, group } => {
                write!(f, "retry inbox of group `{group}` on channel `{channel}`")
            }
            Self::DeadLetter(channel) => write!(f, "dead-letter channel `{channel}`"),
        }
    }
}

/// One message on its way to one destination.
#[derive(Debug, Clone)]
pub struct Send {
    /// Where to.
    pub destination: Destination,
    /// What. Its id and timestamp are set by the time an adapter sees it.
    pub message: Message,
    /// Not to be handed out before this moment. Only on [`Destination::RetryInbox`]. An adapter
    /// with a delay ceiling hands it out at the ceiling; the pipeline sends it on. Adapters read
    /// this field and leave the header `polymq-due`, which the pipeline reads, as it is.
    pub at: Option<Timestamp>,
}

impl Send {
    /// A send without a delay.
    #[must_use]
    pub fn new(destination: Destination, message: Message) -> Self {
        Self { destination, message, at: None }
    }

    /// What identifies this send to a broker's own duplicate window, schedule or compaction.
    ///
    /// It is unique per send, so that only the adapter's own re-sends are absorbed: an adapter draws
    /// `nonce` once per [`publish`](super::Broker::publish) call, keeps it for re-sends, and takes
    /// the send's place in the call as `index`. An id that a retry, a delayed remainder or another
    /// message could share would make the broker drop a message that nobody else has.
    #[must_use]
    pub fn native_id(&self, nonce: u64, index: usize) -> MessageId {
        let (tag, channel, group): (&[u8], &str, &str) = match &self.destination {
            Destination::Channel(channel) => (b"channel", channel.as_str(), ""),
            Destination::RetryInbox { channel, group } => {
                (b"retry-inbox", channel.as_str(), group.as_str())
            }
            Destination::DeadLetter(channel) => (b"dead-letter", channel.as_str(), ""),
        };
        let id = self.message.id().map_or("", MessageId::as_str);
        MessageId::derived(&[
            id.as_bytes(),
            tag,
            channel.as_bytes(),
            group.as_bytes(),
            &nonce.to_be_bytes(),
            &(index as u64).to_be_bytes(),
        ])
    }
}

/// What the broker said when it confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confirmation {
    /// Where the message lies, where the broker has positions.
    pub position: Option<Position>,
    /// The broker recognised a re-send of its own and stored nothing new.
    pub duplicate: bool,
}

impl Confirmation {
    /// A confirmation with a position.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self { position: Some(position), duplicate: false }
    }
}

/// What became of one send.
#[derive(Debug)]
pub enum Outcome {
    /// The broker has it, at its strongest durability unless configured otherwise.
    Confirmed(Confirmation),
    /// Nobody knows: it may be there or not. Sending it again may duplicate it.
    Unconfirmed(Error),
    /// It is certainly not there.
    Rejected(Error),
}

impl Outcome {
    /// Whether the broker has the message.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        matches!(self, Self::Confirmed(_))
    }

    /// The error of an unconfirmed or rejected send.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Confirmed(_) => None,
            Self::Unconfirmed(error) | Self::Rejected(error) => Some(error),
        }
    }

    /// The confirmation, or the error of the other two.
    ///
    /// # Errors
    /// The error of an unconfirmed or rejected send. An unconfirmed one carries the context
    /// `outcome: unconfirmed`.
    pub fn into_result(self) -> Result<Confirmation, Error> {
        match self {
            Self::Confirmed(confirmation) => Ok(confirmation),
            Self::Unconfirmed(error) => {
                Err(error.with_context("outcome", "unconfirmed: the broker may have the message"))
            }
            Self::Rejected(error) => Err(error),
        }
    }
}
