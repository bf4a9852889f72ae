//! Every error of this adapter, and the only place where native ones are translated.

use lapin::ErrorKind as Native;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use polymq_core::broker::{Capability, Destination};
use polymq_core::{ChannelName, Error, ErrorKind, GroupName};

/// Translates what lapin says.
pub(crate) fn native(error: &lapin::Error) -> Error {
    let (kind, help) = match error.kind() {
        Native::ProtocolError(amqp) => by_code(amqp.kind()),
        Native::IOError(_)
        | Native::RuntimeShutdownError(_)
        | Native::MissingHeartbeatError
        | Native::InvalidChannel(_)
        | Native::InvalidChannelState(..)
        | Native::InvalidConnectionState(_) => (ErrorKind::Disconnected, None),
        Native::AuthProviderError(_) => (ErrorKind::Unauthenticated, None),
        Native::ChannelsLimitReached => (
            ErrorKind::Other,
            Some("raise `channel_max` of the broker, or run fewer consumers in this process"),
        ),
        _ => (ErrorKind::Other, None),
    };
    let translated = with_cause(Error::new(kind, text(error)), error);
    match help {
        Some(help) => translated.with_help(help),
        None => translated,
    }
}

/// Translates what lapin says about an attempt to connect.
pub(crate) fn connecting(error: &lapin::Error) -> Error {
    let translated = match error.kind() {
        Native::ProtocolError(amqp) => match amqp.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                Error::new(ErrorKind::Unauthenticated, "the broker refuses user or password")
                    .with_help("correct the URL, `password` or `password_file`; the user `guest` may connect from the broker's own host only")
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if text(error).contains("not found") => {
                Error::new(ErrorKind::NotFound, text(error))
                    .with_help("create the virtual host (`rabbitmqctl add_vhost`), or correct the path of the URL: the default one is `/%2f`")
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                Error::new(ErrorKind::PermissionDenied, text(error))
                    .with_help("grant the user rights on the virtual host (`rabbitmqctl set_permissions`)")
            }
            _ => return native(error).with_operation("connect"),
        },
        Native::IOError(io) if io.kind() == std::io::ErrorKind::InvalidData => {
            Error::new(ErrorKind::Disconnected, format!("no TLS connection: {io}"))
                .retryable(false)
                .with_help("name who signed the broker's certificate (`ca_file`), and our own where the broker wants one (`cert_file`, `key_file`), in [broker.rabbitmq]; `amqp://` is for a port without TLS")
        }
        Native::IOError(io) => {
            Error::new(ErrorKind::Disconnected, format!("the broker cannot be reached: {io}"))
                .with_help("start the broker, or correct host and port of the URL")
        }
        Native::ParsingError(_) => {
            Error::new(ErrorKind::Disconnected, "what answers does not speak AMQP 0-9-1")
                .retryable(false)
                .with_help("correct the port of the URL; `amqps://` is for a port with TLS")
        }
        _ => return native(error).with_operation("connect"),
    };
    with_cause(translated.with_operation("connect"), error)
}

/// Keeps the native error as the cause, unless its text says all that it knows.
fn with_cause(translated: Error, native: &lapin::Error) -> Error {
    match native.kind() {
        Native::ProtocolError(_) => translated,
        _ => translated.with_source(native.clone()),
    }
}

fn by_code(code: &AMQPErrorKind) -> (ErrorKind, Option<&'static str>) {
    match code {
        AMQPErrorKind::Soft(soft) => match soft {
            AMQPSoftError::ACCESSREFUSED => (
                ErrorKind::PermissionDenied,
                Some(
                    "grant the user the right (`rabbitmqctl set_permissions`), or let somebody who has it apply the topology",
                ),
            ),
            AMQPSoftError::NOTFOUND => {
                (ErrorKind::NotFound, Some("apply the topology: `polymq topology apply`"))
            }
            AMQPSoftError::PRECONDITIONFAILED => (ErrorKind::TopologyMismatch, None),
            AMQPSoftError::RESOURCELOCKED => (ErrorKind::PermissionDenied, None),
            AMQPSoftError::CONTENTTOOLARGE => (ErrorKind::TooLarge, None),
            _ => (ErrorKind::Other, None),
        },
        AMQPErrorKind::Hard(hard) => match hard {
            AMQPHardError::CONNECTIONFORCED | AMQPHardError::INTERNALERROR => {
                (ErrorKind::Disconnected, None)
            }
            AMQPHardError::RESOURCEERROR => (ErrorKind::Blocked, None),
            AMQPHardError::NOTALLOWED => (ErrorKind::PermissionDenied, None),
            AMQPHardError::FRAMEERROR => (ErrorKind::TooLarge, None),
            _ => (ErrorKind::Other, None),
        },
    }
}

/// The broker's own words where there are some: `NOT_FOUND - no queue 'x' in vhost '/'`.
pub(crate) fn text(error: &lapin::Error) -> String {
    match error.kind() {
        Native::ProtocolError(amqp) => amqp.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// Whether the broker says that an object is not there.
pub(crate) fn is_not_found(error: &lapin::Error) -> bool {
    code(error) == Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// Whether the broker says that an object is there with other arguments.
pub(crate) fn is_mismatch(error: &lapin::Error) -> bool {
    code(error) == Some(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}

/// Whether the broker says that the user may not do it.
pub(crate) fn is_denied(error: &lapin::Error) -> bool {
    code(error) == Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
}

/// What the broker ended a publishing AMQP channel over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Blame<'a> {
    /// This exchange isn't there, or may not be written to (with this routing key).
    Exchange { name: &'a str, key: Option<&'a str> },
    /// A payload of more bytes than the broker takes.
    Larger { max: usize },
    /// It doesn't say which message it was.
    Nobody,
}

/// Reads whom the broker blames; `None` when it didn't end the channel, but the connection was lost.
pub(crate) fn blame(error: &lapin::Error) -> Option<Blame<'_>> {
    let text = match error.kind() {
        Native::ProtocolError(amqp) if error.is_amqp_soft_error() => amqp.get_message().as_str(),
        _ => return None,
    };
    let exchange = || {
        let (before, rest) = text.rsplit_once("exchange '")?;
        let (name, _) = rest.split_once("' in vhost")?;
        let key = before.split_once("topic '").and_then(|(_, key)| key.strip_suffix("' in "));
        Some(Blame::Exchange { name, key })
    };
    let larger = || {
        let (_, max) = text.split_once("message size ")?.1.rsplit_once("max size ")?;
        Some(Blame::Larger { max: max.trim().parse().ok()? })
    };
    Some(exchange().or_else(larger).unwrap_or(Blame::Nobody))
}

fn code(error: &lapin::Error) -> Option<AMQPErrorKind> {
    match error.kind() {
        Native::ProtocolError(amqp) => Some(amqp.kind().clone()),
        _ => None,
    }
}

pub(crate) fn bad_url(problem: &'static str) -> Error {
    Error::new(ErrorKind::Config, problem)
        .with_operation("connect")
        .with_help("write `amqp://USER:PASSWORD@HOST:PORT/VHOST`; the default virtual host `/` is `%2f`; escape `/`, `@`, `:` and `%` in passwords")
}

/// There was no connection until the deadline.
pub(crate) fn away(reason: Option<&Error>) -> Error {
    let message = match reason {
        Some(reason) => format!("no connection to the broker in time: {reason}"),
        None => "no connection to the broker in time".to_owned(),
    };
    let kind = reason.map_or(ErrorKind::Disconnected, Error::kind);
    Error::new(kind, message).retryable(true)
}

/// The broker asked for silence: `connection.blocked`.
pub(crate) fn blocked() -> Error {
    Error::new(ErrorKind::Blocked, "the broker takes no messages for now: it is short of memory or disk")
        .with_help("free memory or disk on the broker (`rabbitmq-diagnostics alarms`), or raise its watermarks")
}

/// A body that the broker would close the channel over.
pub(crate) fn too_large(bytes: usize, max: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("the payload has {bytes} bytes, above the limit of {max}"))
        .with_help("send less: keep large data elsewhere and send a reference; the limit is `max_message_bytes` in [broker.rabbitmq], as the broker's own max_message_size")
}

/// The topology has no such place.
pub(crate) fn no_destination(destination: &Destination) -> Error {
    Error::new(ErrorKind::NotFound, format!("this configuration knows no {destination}"))
        .with_help("declare the channel in the configuration")
}

/// The configuration has no such group.
pub(crate) fn no_group(channel: &ChannelName, group: &GroupName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("this configuration knows no group `{group}` on channel `{channel}`"),
    )
    .with_channel(channel)
    .with_help("declare channel and consumer in the configuration")
}

/// The broker returned a message that no queue took.
pub(crate) fn unroutable(destination: &Destination) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("no queue on the broker takes messages for {destination}"),
    )
    .with_help("apply the topology: `polymq topology apply`")
}

/// The broker refused to store a message.
pub(crate) fn nacked(destination: &Destination) -> Error {
    Error::new(
        ErrorKind::Other,
        format!("the broker could not store the message for {destination}"),
    )
    .retryable(true)
    .with_help("look at the broker's log: a queue may have lost its quorum")
}

pub(crate) fn full(destination: &Destination) -> Error {
    Error::new(ErrorKind::Full, format!("the queue of {destination} is full (`max_bytes`)"))
        .with_help("raise the channel's max_bytes, or add consumers; then publish again")
}

pub(crate) fn delay_elsewhere(destination: &Destination) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("a message cannot wait in {destination}: only a retry inbox delays"),
    )
    .with_help("send it to a group's retry inbox, or without `at`")
}

pub(crate) fn late(what: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, what)
}

pub(crate) fn closed(what: &'static str) -> Error {
    Error::new(ErrorKind::Closed, format!("the {what} was closed"))
}

/// A token that stands for nothing any more.
pub(crate) fn stale() -> Error {
    Error::new(
        ErrorKind::StaleToken,
        "the delivery is no longer this consumer's: it was settled before, or its AMQP channel has ended",
    )
    .with_operation("settle")
    .with_help("nothing is lost: what was not acked is handed out again; if slow handlers lead here, raise `max_lease`, or `consumer_timeout` of the broker")
}

pub(crate) fn unsupported(capability: Capability) -> Error {
    Error::new(ErrorKind::Unsupported, format!("RabbitMQ has no {capability:?}"))
}
