use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use polymq_core::{Error, ErrorKind, Message, MessageId, Timestamp};

use super::value::{bytes, integer};
use super::{
    CAUSATION_ID, CONTENT_ENCODING, DELIVER_AT, ESCAPE, ESCAPED, EXPIRES_AT, KEY, SCHEMA, SOURCE,
    SPECVERSION, SUBJECT, TIME, TOMBSTONE,
};

/// What the broker counts: hand-outs before this one that did not end in an ack.
const DELIVERY_COUNT: &str = "x-delivery-count";

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) message: Message,
    /// How often the broker has handed it out, this time included.
    pub(crate) delivery_count: u32,
    /// Why it could not be read as it was meant; the message then has its raw body.
    pub(crate) malformed: Option<Error>,
}

/// Reads a message. `subject` is the routing key where that is the subject of a message that doesn't say
/// its own: on a topic.
pub(crate) fn read(properties: &BasicProperties, data: Vec<u8>, subject: Option<&str>) -> Received {
    let mut message = Message::tombstone();
    let mut malformed = None;
    let mut own = Own::default();
    let headers = properties.headers().iter().flat_map(|table| table.inner().iter());
    for (name, value) in headers {
        if !own.take(name.as_str(), value, &mut malformed) {
            message.headers_mut().insert(unescaped(name.as_str()), bytes(value));
        }
    }
    if !own.tombstone || !data.is_empty() {
        message.set_payload(Some(Bytes::from(data)));
    }
    let time = own.time.or(properties.timestamp().map(|seconds| seconds.saturating_mul(1000)));
    let ttl = own.ttl(time);
    message.set_timestamp(time.map(Timestamp::from_millis));
    if let Some(key) = own.key {
        message = message.with_key(key);
    }
    let text = |value: &Option<ShortString>| value.as_ref().map(|v| v.as_str().to_owned());
    message.set_id(properties.message_id().as_ref().and_then(|id| MessageId::new(id.as_str())));
    if let Some(name) = text(properties.kind()) {
        message = message.with_type(name);
    }
    if let Some(media_type) = text(properties.content_type()) {
        message = message.with_content_type(media_type);
    }
    if let Some(id) = text(properties.correlation_id()) {
        message = message.with_correlation_id(id);
    }
    if let Some(address) = text(properties.reply_to()) {
        message = message.with_reply_to(address);
    }
    if let Some(priority) = *properties.priority() {
        message = message.with_priority(priority);
    }
    if let Some(encoding) = text(properties.content_encoding()) {
        message = message.with_header(CONTENT_ENCODING, encoding);
    }
    if let Some(subject) = own.subject.as_deref().or(subject.filter(|s| !s.is_empty())) {
        message = message.with_subject(subject);
    }
    if let Some(id) = own.causation_id {
        message = message.with_causation_id(id);
    }
    if let Some(version) = own.schema {
        message = message.with_schema_version(version);
    }
    if let Some(at) = own.deliver_at {
        message = message.with_deliver_at(Timestamp::from_millis(at));
    }
    if let Some(ttl) = ttl {
        message = message.with_ttl(ttl);
    }
    Received { message, delivery_count: own.delivery_count.saturating_add(1), malformed }
}

fn unescaped(name: &str) -> &str {
    name.strip_prefix(ESCAPE).filter(|name| ESCAPED.contains(name)).unwrap_or(name)
}

/// What polymq and the broker write into the headers for themselves.
#[derive(Default)]
struct Own {
    key: Option<Bytes>,
    subject: Option<String>,
    causation_id: Option<String>,
    schema: Option<u32>,
    time: Option<u64>,
    expires_at: Option<u64>,
    deliver_at: Option<u64>,
    tombstone: bool,
    delivery_count: u32,
}

impl Own {
    /// Takes a header that is no application's; says whether it was one.
    fn take(&mut self, name: &str, value: &AMQPValue, malformed: &mut Option<Error>) -> bool {
        let mut number = || {
            let number = integer(value);
            if number.is_none() {
                malformed.get_or_insert_with(|| unreadable(name));
            }
            number
        };
        match name {
            TIME => self.time = number(),
            EXPIRES_AT => self.expires_at = number(),
            DELIVER_AT => self.deliver_at = number(),
            SCHEMA => self.schema = number().and_then(|n| u32::try_from(n).ok()),
            DELIVERY_COUNT => {
                let count = integer(value).unwrap_or_default();
                self.delivery_count = u32::try_from(count).unwrap_or(u32::MAX);
            }
            KEY => self.key = Some(bytes(value)),
            SUBJECT => self.subject = Some(lossy(value)),
            CAUSATION_ID => self.causation_id = Some(lossy(value)),
            TOMBSTONE => self.tombstone = true,
            SPECVERSION | SOURCE => {}
            name => return is_brokers(name),
        }
        true
    }

    fn ttl(&self, time: Option<u64>) -> Option<Duration> {
        Some(Duration::from_millis(self.expires_at?.saturating_sub(time?)))
    }
}

fn lossy(value: &AMQPValue) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

/// The broker's notes on a message's way so far, which mean nothing on its next hop.
fn is_brokers(name: &str) -> bool {
    name == "x-death"
        || name == "x-acquired-count"
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

fn unreadable(name: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("the header `{name}` holds no number"))
        .with_help("headers that begin with `polymq-` are polymq's own: publish without them")
}
