//! The headers that a message carries through retries, dead-lettering and replays.
//!
//! Adapters send and receive them like any other header; they are read only on messages from a
//! retry inbox or a dead-letter channel, where only polymq writes.

use super::{Headers, Timestamp};

/// The number of the attempt that this copy is for.
pub const ATTEMPT: &str = "polymq-attempt";
/// When the first attempt failed, in milliseconds since the Unix epoch.
pub const FIRST_FAILURE: &str = "polymq-first-failure";
/// When the copy is due, in milliseconds since the Unix epoch.
pub const DUE: &str = "polymq-due";
/// Where the first delivery lay, as `partition/offset`, where the broker has positions.
pub const ORIGIN_POSITION: &str = "polymq-origin-position";
/// How often the message was replayed from a dead-letter channel.
pub const REPLAY: &str = "polymq-replay";
/// What the last attempt failed with.
pub const LAST_ERROR: &str = "polymq-last-error";

/// Why the message was dead-lettered: a `DeadLetterReason`.
pub const DEAD_LETTER_REASON: &str = "polymq-dead-letter-reason";
/// The error chain, outermost first, one error per line, cut at 8 kB.
pub const DEAD_LETTER_ERROR: &str = "polymq-dead-letter-error";
/// How many attempts were made.
pub const DEAD_LETTER_ATTEMPTS: &str = "polymq-dead-letter-attempts";
/// When the last attempt failed, in milliseconds since the Unix epoch.
pub const DEAD_LETTER_LAST_FAILURE: &str = "polymq-dead-letter-last-failure";
/// The channel it was consumed from.
pub const DEAD_LETTER_CHANNEL: &str = "polymq-dead-letter-channel";
/// The group that gave up on it.
pub const DEAD_LETTER_GROUP: &str = "polymq-dead-letter-group";
/// The broker it was consumed from.
pub const DEAD_LETTER_BROKER: &str = "polymq-dead-letter-broker";
/// Where its first delivery lay there, as `partition/offset`, where the broker has positions.
pub const DEAD_LETTER_POSITION: &str = "polymq-dead-letter-position";
/// How many application headers had to be left out for the envelope to fit.
pub const DEAD_LETTER_DROPPED_HEADERS: &str = "polymq-dead-letter-dropped-headers";

fn number(headers: &Headers, name: &str) -> Option<u64> {
    headers.get_str(name)?.parse().ok()
}

pub(crate) fn attempt(headers: &Headers) -> u32 {
    number(headers, ATTEMPT).and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1)
}

pub(crate) fn due(headers: &Headers) -> Option<Timestamp> {
    number(headers, DUE).map(Timestamp::from_millis)
}

pub(crate) fn first_failure(headers: &Headers) -> Option<Timestamp> {
    number(headers, FIRST_FAILURE).map(Timestamp::from_millis)
}

pub(crate) fn replay(headers: &Headers) -> u32 {
    number(headers, REPLAY).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_hop_headers_read_as_a_first_attempt() {
        let headers: Headers =
            [(ATTEMPT, "many"), (DUE, "-1"), (REPLAY, "99999999999")].into_iter().collect();
        assert_eq!((attempt(&headers), due(&headers), replay(&headers)), (1, None, 0));
    }
}
