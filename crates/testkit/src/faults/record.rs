use std::fmt;

use polymq_core::Timestamp;
use polymq_core::broker::{Destination, Outcome};
use polymq_core::model::Message;

/// What became of a recorded send, as the broker's side knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// The call has not ended: it is under way, was dropped, or died in a crash.
    Unanswered,
    /// The broker has it.
    Confirmed,
    /// Nobody knows; why.
    Unconfirmed(String),
    /// It is nowhere; why.
    Rejected(String),
}

impl SendOutcome {
    /// Whether the broker has the message.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        *self == Self::Confirmed
    }
}

impl From<&Outcome> for SendOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Confirmed(_) => Self::Confirmed,
            Outcome::Unconfirmed(error) => Self::Unconfirmed(error.to_string()),
            Outcome::Rejected(error) => Self::Rejected(error.to_string()),
        }
    }
}

impl fmt::Display for SendOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered => f.write_str("unanswered"),
            Self::Confirmed => f.write_str("confirmed"),
            Self::Unconfirmed(error) => write!(f, "unconfirmed: {error}"),
            Self::Rejected(error) => write!(f, "rejected: {error}"),
        }
    }
}

/// A send that went through a wrapper, alone or with an ack.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SendRecord {
    /// Where to.
    pub destination: Destination,
    /// What.
    pub message: Message,
    /// Not before.
    pub at: Option<Timestamp>,
    /// What became of it.
    pub outcome: SendOutcome,
}
