use std::fmt;

use super::hop_headers::set_number;
use crate::broker::{Destination, Send};
use crate::model::{
    ChannelName, Delivery, GroupName, Message, Origin, RESERVED_PREFIX, Timestamp, hop,
};

/// Why a message was dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// The payload, or the message itself, could not be read.
    Undecodable,
    /// No handler takes the message's type.
    UnknownType,
    /// The message or its headers exceed a limit.
    OverLimit,
    /// The handler said that trying again is pointless.
    Permanent,
    /// Every retry failed.
    RetriesExhausted,
    /// The next retry would begin later than `max_elapsed` after the first failure.
    MaxElapsed,
    /// The message was handed out `max_deliveries` times without an end.
    CrashLoop,
    /// The message was past its time-to-live.
    Expired,
    /// An output was refused for good by its broker.
    OutputRejected,
}

impl DeadLetterReason {
    /// The reason in the header, in metrics and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownType => "unknown-type",
            Self::OverLimit => "over-limit",
            Self::Permanent => "permanent",
            Self::RetriesExhausted => "retries-exhausted",
            Self::MaxElapsed => "max-elapsed",
            Self::CrashLoop => "crash-loop",
            Self::Expired => "expired",
            Self::OutputRejected => "output-rejected",
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The most bytes of an error chain that a dead letter carries.
pub(super) const MAX_ERROR_BYTES: usize = 8 << 10;

/// What a dead letter says beside the message itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epitaph<'a> {
    pub(super) reason: DeadLetterReason,
    pub(super) error: &'a str,
    pub(super) attempts: u32,
    pub(super) first_failure: Option<Timestamp>,
    pub(super) now: Timestamp,
    pub(super) channel: &'a ChannelName,
    pub(super) group: &'a GroupName,
    pub(super) broker: &'a str,
}

/// The dead letter of a delivery: the original message, byte for byte, with the envelope around it.
pub(super) fn dead_letter(
    delivery: &Delivery,
    to: &ChannelName,
    epitaph: Epitaph<'_>,
    fits: impl Fn(&Message) -> bool,
) -> Send {
    let mut message = delivery.message.clone();
    let position = hop_position(delivery);
    let headers = message.headers_mut();
    for gone in [hop::ATTEMPT, hop::DUE, hop::LAST_ERROR, hop::ORIGIN_POSITION] {
        headers.remove(gone);
    }
    headers.insert(hop::DEAD_LETTER_REASON, epitaph.reason.as_str());
    set_number(headers, hop::DEAD_LETTER_ATTEMPTS, u64::from(epitaph.attempts));
    let first = epitaph.first_failure.unwrap_or(epitaph.now);
    set_number(headers, hop::FIRST_FAILURE, first.as_millis());
    set_number(headers, hop::DEAD_LETTER_LAST_FAILURE, epitaph.now.as_millis());
    headers.insert(hop::DEAD_LETTER_CHANNEL, epitaph.channel.as_str().to_owned());
    headers.insert(hop::DEAD_LETTER_GROUP, epitaph.group.as_str().to_owned());
    headers.insert(hop::DEAD_LETTER_BROKER, epitaph.broker.to_owned());
    if let Some(position) = position {
        headers.insert(hop::DEAD_LETTER_POSITION, position);
    }
    if !epitaph.error.is_empty() {
        headers.insert(hop::DEAD_LETTER_ERROR, epitaph.error.to_owned());
    }
    fit(&mut message, hop::DEAD_LETTER_ERROR, fits);
    Send::new(Destination::DeadLetter(to.clone()), message)
}

/// Where the first delivery of the message lay.
pub(super) fn hop_position(delivery: &Delivery) -> Option<String> {
    match delivery.origin {
        Origin::Channel => delivery.position.map(|p| p.to_string()),
        Origin::RetryInbox => {
            delivery.message.headers().get_str(hop::ORIGIN_POSITION).map(str::to_owned)
        }
    }
}

/// Makes a hop fit where the message it carries already fills the broker's limit (a foreign client
/// sent it): first goes the error, then the application's headers, which are counted, and at last
/// the rest of the envelope. Never a byte of the payload.
pub(super) fn fit(message: &mut Message, error: &'static str, fits: impl Fn(&Message) -> bool) {
    if fits(message) {
        return;
    }
    message.headers_mut().remove(error);
    if fits(message) {
        return;
    }
    let before = message.headers().len();
    message.headers_mut().retain(|name| name.starts_with(RESERVED_PREFIX));
    let dropped = before - message.headers().len();
    if dropped > 0 {
        set_number(message.headers_mut(), hop::DEAD_LETTER_DROPPED_HEADERS, dropped as u64);
    }
    if !fits(message) {
        message.headers_mut().retain(|_| false);
        tracing::warn!(
            messaging.message.id = message.id().map(tracing::field::display),
            "a message fills the broker's limit: its envelope was left out"
        );
    }
}
