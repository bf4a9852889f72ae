use super::dead_letter::{fit, hop_position};
use crate::broker::{Destination, Send};
use crate::model::{ChannelName, Delivery, GroupName, Headers, Message, Origin, Timestamp, hop};

pub(super) fn set_number(headers: &mut Headers, name: &'static str, number: u64) {
    headers.insert(name, number.to_string());
}

/// The most bytes of an error that a retry copy carries.
pub(super) const MAX_LAST_ERROR_BYTES: usize = 1 << 10;

/// A failed attempt that will be followed by another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextAttempt<'a> {
    pub(super) number: u32,
    pub(super) first_failure: Timestamp,
    pub(super) error: &'a str,
}

/// A copy for the group's retry inbox: after a failure with `next`, or, without it, the same attempt
/// again at its due time.
pub(super) fn retry_copy(
    delivery: &Delivery,
    channel: &ChannelName,
    group: &GroupName,
    due: Timestamp,
    next: Option<NextAttempt<'_>>,
    fits: impl Fn(&Message) -> bool,
) -> Send {
    let mut message = delivery.message.clone();
    let (attempt, position) = (delivery.attempt(), hop_position(delivery));
    message.clear_deliver_at();
    let headers = message.headers_mut();
    if delivery.origin == Origin::Channel {
        // Whatever a channel's message says about hops, polymq did not write it.
        headers.retain(|name| !FORGED.contains(&name));
    }
    set_number(headers, hop::DUE, due.as_millis());
    set_number(headers, hop::ATTEMPT, u64::from(next.map_or(attempt, |n| n.number)));
    if let Some(position) = position {
        headers.insert(hop::ORIGIN_POSITION, position);
    }
    if let Some(next) = next {
        set_number(headers, hop::FIRST_FAILURE, next.first_failure.as_millis());
        headers.insert(hop::LAST_ERROR, next.error.to_owned());
    }
    fit(&mut message, hop::LAST_ERROR, fits);
    let destination = Destination::RetryInbox { channel: channel.clone(), group: group.clone() };
    Send { destination, message, at: Some(due) }
}

const FORGED: [&str; 4] = [hop::ATTEMPT, hop::DUE, hop::FIRST_FAILURE, hop::ORIGIN_POSITION];
