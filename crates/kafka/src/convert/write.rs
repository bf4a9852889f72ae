use polymq_core::Message;
use rdkafka::message::{Header, OwnedHeaders};

use super::{
    CAUSATION_ID, CONTENT_TYPE, CORRELATION_ID, DELIVER_AT, ESCAPE, EXPIRES_AT, ID, KEY, PRIORITY,
    REPLY_TO, SCHEMA, SOURCE, SPECVERSION, SUBJECT, TIME, TOMBSTONE, TYPE, is_taken,
};

/// What sort of topic a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Key and value are the message's own.
    Plain,
    /// The record key is the dead letter's id, and a null value would remove it.
    DeadLetter,
}

/// The headers of a message.
pub(crate) fn headers(message: &Message, source: &str, form: Form) -> OwnedHeaders {
    // `insert` takes the builder and hands it back.
    let mut headers = Some(OwnedHeaders::new_with_capacity(8 + message.headers().len()));
    each(message, source, form, |name, value| {
        headers =
            headers.take().map(|so_far| so_far.insert(Header { key: name, value: Some(value) }));
    });
    headers.unwrap_or_default()
}

/// The bytes of a record that its size limit counts: key, value and headers.
pub(crate) fn wire_size(message: &Message) -> usize {
    /// `source`, which holds the namespace, a dead letter's id, and lengths.
    const OWN: usize = 256;
    let bytes = message.payload().map_or(0, bytes::Bytes::len);
    OWN + bytes + message.key().map_or(0, bytes::Bytes::len) + header_bytes(message)
}

/// The bytes of all headers but `source`.
pub(crate) fn header_bytes(message: &Message) -> usize {
    let mut size = 0;
    each(message, "", Form::DeadLetter, |name, value| size += name.len() + value.len() + 4);
    size
}

fn each(message: &Message, source: &str, form: Form, mut set: impl FnMut(&str, &[u8])) {
    set(SPECVERSION, b"1.0");
    set(SOURCE, source.as_bytes());
    let texts = [
        (ID, message.id().map(|id| id.as_str())),
        (TYPE, message.message_type()),
        (CONTENT_TYPE, message.content_type()),
        (SUBJECT, message.subject()),
        (CORRELATION_ID, message.correlation_id()),
        (REPLY_TO, message.reply_to()),
        (CAUSATION_ID, message.causation_id()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            set(name, text.as_bytes());
        }
    }
    if let Some(time) = message.timestamp() {
        set(TIME, time.to_string().as_bytes());
    }
    let numbers = [
        (EXPIRES_AT, message.expires_at().map(|at| at.as_millis())),
        (DELIVER_AT, message.deliver_at().map(|at| at.as_millis())),
        (SCHEMA, message.schema_version().map(u64::from)),
        (PRIORITY, message.priority().map(u64::from)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            set(name, number.to_string().as_bytes());
        }
    }
    if form == Form::DeadLetter {
        if let Some(key) = message.key() {
            set(KEY, key);
        }
        if message.payload().is_none() {
            set(TOMBSTONE, b"1");
        }
    }
    for (name, value) in message.headers().iter() {
        match is_taken(name) {
            true => set(&format!("{ESCAPE}{name}"), value),
            false => set(name, value),
        }
    }
}
