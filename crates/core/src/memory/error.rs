//! Every error of the memory broker, in one place.

use super::budget::{Class, OVERHEAD};
use crate::broker::{Denial, Destination, Source};
use crate::model::{ChannelName, GroupName};
use crate::{Error, ErrorKind};

fn at(error: Error, destination: &Destination) -> Error {
    match destination.channel() {
        Some(channel) => error.with_channel(channel),
        None => error,
    }
}

pub(super) fn no_destination(destination: &Destination) -> Error {
    let error = Error::new(
        ErrorKind::NotFound,
        format!("there is no {destination} on this server"),
    )
    .with_operation("publish")
    .with_help(
        "declare it in the configuration and apply the topology (`topology = \"create-missing\"`)",
    );
    at(error, destination)
}

pub(super) fn no_group(channel: &ChannelName, group: &GroupName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no group `{group}` on channel `{channel}` on this server"),
    )
    .with_channel(channel)
    .with_help(
        "declare it in the configuration and apply the topology (`topology = \"create-missing\"`)",
    )
}

pub(super) fn no_source(source: &Source) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {source} on this server"))
        .with_help("declare it in the configuration and apply the topology")
}

pub(super) fn full_channel(channel: &ChannelName, bytes: u64, max: u64, cost: u64) -> Error {
    Error::new(
        ErrorKind::Full,
        format!(
            "the channel holds {bytes} of its {max} bytes (`max_bytes`); the message needs {cost}"
        ),
    )
    .with_operation("publish")
    .with_channel(channel)
    .with_context("overhead_per_message", OVERHEAD)
    .with_help("raise the channel's max_bytes, or add consumers; then publish again")
}

pub(super) fn full_server(
    channel: &ChannelName,
    used: u64,
    limit: u64,
    cost: u64,
    class: Class,
) -> Error {
    let whose = match class {
        Class::Application => "`max_bytes` of [broker.memory]",
        Class::Hop => "`max_bytes` of [broker.memory] and a quarter for retries and dead letters",
    };
    Error::new(
        ErrorKind::Full,
        format!("the server holds {used} of its {limit} bytes ({whose}); the message needs {cost}"),
    )
    .with_operation("publish")
    .with_channel(channel)
    .with_context("overhead_per_message", OVERHEAD)
    .with_help("raise max_bytes in [broker.memory], add consumers, or purge what nobody consumes; then publish again")
}

pub(super) fn full_before(channel: &ChannelName) -> Error {
    Error::new(
        ErrorKind::Full,
        "an earlier message of the same call found the channel full: sending this one would break their order",
    )
    .with_operation("publish")
    .with_channel(channel)
    .with_help("publish both again, in order")
}

pub(super) fn too_large(
    channel: &ChannelName,
    what: &'static str,
    size: usize,
    max: usize,
) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the message's {what} come to {size}, above the limit of {max}"),
    )
    .with_operation("publish")
    .with_channel(channel)
    .with_help("send less: keep large data elsewhere and send a reference; the limit on bytes is max_message_bytes in [broker.memory]")
}

pub(super) fn delay_elsewhere(destination: &Destination) -> Error {
    let error = Error::new(
        ErrorKind::Unsupported,
        format!("a message cannot wait in {destination}: only a retry inbox delays"),
    )
    .with_operation("publish")
    .with_help("send it to a group's retry inbox, or without `at`");
    at(error, destination)
}

pub(super) fn denied(denial: Denial) -> Error {
    Error::new(ErrorKind::Unsupported, denial.reason).with_help(denial.fix)
}

pub(super) fn no_history(channel: &ChannelName) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a queue keeps nothing that was handled, so its group cannot be moved",
    )
    .with_operation("seek")
    .with_channel(channel)
    .with_help("use a topic with `retention`; purge the queue to skip what waits")
}

pub(super) fn stale() -> Error {
    Error::new(
        ErrorKind::StaleToken,
        "the delivery is no longer this consumer's: it was settled before, or its lease ended",
    )
    .with_help("nothing is lost: what was not acked is handed out again; extend leases of slow work in time")
}

pub(super) fn closed(what: &'static str) -> Error {
    Error::new(ErrorKind::Closed, format!("the {what} was closed"))
}

pub(super) fn gone(seq: u64) -> Error {
    Error::new(ErrorKind::NotFound, format!("message {seq} has gone since it was peeked"))
        .with_operation("remove")
}

pub(super) fn in_hand(seq: u64) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("message {seq} was handed out to a consumer since it was peeked"),
    )
    .with_operation("remove")
    .with_help("it comes back if the consumer does not ack it: look again")
}

pub(super) fn bad_address(problem: &'static str) -> Error {
    Error::new(ErrorKind::Config, problem)
        .with_operation("connect")
        .with_help("write one `memory://`, or `memory://NAME` with a name of a-z, 0-9 and `-`")
}

pub(super) fn other_options(address: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("`{address}` runs already, with other options"),
    )
    .with_operation("connect")
    .with_help("give every [broker.memory] of one server the same options, or name another server in the URL")
}
