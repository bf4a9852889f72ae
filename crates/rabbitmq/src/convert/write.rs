use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use polymq_core::{Error, ErrorKind, Message, Result};

use super::{
    CAUSATION_ID, CONTENT_ENCODING, DELIVER_AT, ESCAPE, ESCAPED, EXPIRES_AT, KEY, SCHEMA, SHORT,
    SOURCE, SPECVERSION, SUBJECT, TIME, TOMBSTONE,
};

/// Written to disk by the broker before it confirms.
const PERSISTENT: u8 = 2;

/// Frame header and end, class, weight, body size and flags.
const FRAME_OVERHEAD: usize = 8 + 14;

/// The properties of a message that [`check`] has passed.
pub(crate) fn write(message: &Message, source: &str) -> BasicProperties {
    let mut table = FieldTable::default();
    let mut set = |name: &str, value: Vec<u8>| {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    set(SPECVERSION, b"1.0".to_vec());
    set(SOURCE, source.as_bytes().to_vec());
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    for (name, value) in message.headers().iter() {
        match name {
            name if ESCAPED.contains(&name) => set(&format!("{ESCAPE}{name}"), value.to_vec()),
            CONTENT_ENCODING if is_short(value) => {
                properties = properties.with_content_encoding(short(value));
            }
            name => set(name, value.to_vec()),
        }
    }
    let texts = [
        (SUBJECT, message.subject()),
        (CAUSATION_ID, message.causation_id()),
        (TOMBSTONE, message.payload().is_none().then_some("1")),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            set(name, text.as_bytes().to_vec());
        }
    }
    let expires_at = message.expires_at().map(|t| t.as_millis());
    let numbers = [
        (TIME, message.timestamp().map(|t| t.as_millis())),
        (EXPIRES_AT, expires_at),
        (DELIVER_AT, message.deliver_at().map(|t| t.as_millis())),
        (SCHEMA, message.schema_version().map(u64::from)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            set(name, number.to_string().into_bytes());
        }
    }
    if let Some(key) = message.key() {
        set(KEY, key.to_vec());
    }
    properties = properties.with_headers(table);
    if let Some(id) = message.id() {
        properties = properties.with_message_id(id.as_str().into());
    }
    if let Some(name) = message.message_type() {
        properties = properties.with_type(name.into());
    }
    if let Some(media_type) = message.content_type() {
        properties = properties.with_content_type(media_type.into());
    }
    if let Some(id) = message.correlation_id() {
        properties = properties.with_correlation_id(id.into());
    }
    if let Some(address) = message.reply_to() {
        properties = properties.with_reply_to(address.into());
    }
    if let Some(priority) = message.priority() {
        properties = properties.with_priority(priority);
    }
    if let Some(timestamp) = message.timestamp() {
        properties = properties.with_timestamp(timestamp.as_millis() / 1000);
    }
    properties
}

fn is_short(value: &[u8]) -> bool {
    value.len() <= SHORT && std::str::from_utf8(value).is_ok()
}

fn short(value: &[u8]) -> ShortString {
    String::from_utf8_lossy(value).into_owned().into()
}

/// What AMQP cannot carry is refused before anything is written: it would cost the connection.
///
/// # Errors
/// `TooLarge`, naming the field and the limit.
pub(crate) fn check(message: &Message, frame_max: usize) -> Result<()> {
    let fields = [
        ("id", message.id().map(|id| id.as_str())),
        ("type", message.message_type()),
        ("content type", message.content_type()),
        ("correlation id", message.correlation_id()),
        ("reply-to", message.reply_to()),
    ];
    let long = fields.into_iter().find(|(_, text)| text.is_some_and(|t| t.len() > SHORT));
    if let Some((field, text)) = long {
        return Err(too_long(field, text.map_or(0, str::len)));
    }
    let names = message.headers().iter().map(|(name, _)| name.len());
    if let Some(length) = names.filter(|length| *length > SHORT).max() {
        return Err(too_long("header name", length));
    }
    let frame = header_frame(message);
    if frame_max > 0 && frame > frame_max {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the headers come to {frame} bytes; RabbitMQ takes one frame of {frame_max}"),
        )
        .with_help("move large values from the headers into the payload, or raise `frame_max` of the broker"));
    }
    Ok(())
}

fn too_long(field: &str, length: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the {field} has {length} bytes; RabbitMQ takes {SHORT}"),
    )
    .with_help("shorten it, or carry it in a header or the payload")
}

/// The bytes of the frame that carries properties and headers, or slightly more.
pub(super) fn header_frame(message: &Message) -> usize {
    let entry = |name: usize, value: usize| 1 + name + 5 + value;
    let text = |text: Option<&str>| text.map_or(0, |text| text.len() + 1);
    let headers: usize = message.headers().iter().map(|(n, v)| entry(n.len(), v.len())).sum();
    // specversion, source, times, schema version, tombstone, escapes: their names and numbers.
    const OWN: usize = 512;
    FRAME_OVERHEAD
        + OWN
        + headers
        + message.key().map_or(0, |key| entry(KEY.len(), key.len()))
        + message.subject().map_or(0, |s| entry(SUBJECT.len(), s.len()))
        + message.causation_id().map_or(0, |s| entry(CAUSATION_ID.len(), s.len()))
        + text(message.id().map(|id| id.as_str()))
        + text(message.message_type())
        + text(message.content_type())
        + text(message.correlation_id())
        + text(message.reply_to())
}
