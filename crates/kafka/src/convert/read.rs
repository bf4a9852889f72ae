use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use polymq_core::{Error, ErrorKind, Message, MessageId, Timestamp};

use super::{
    CAUSATION_ID, CONTENT_TYPE, CORRELATION_ID, DELIVER_AT, ESCAPE, EXPIRES_AT, Form, ID, KEY,
    PRIORITY, REPLY_TO, SCHEMA, SOURCE, SPECVERSION, SUBJECT, TIME, TOMBSTONE, TYPE, is_taken,
};

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) message: Message,
    /// Why it could not be read as it was meant; the message then has what could be read.
    pub(crate) malformed: Option<Error>,
}

/// A record that is being read, header by header.
#[derive(Debug)]
pub(crate) struct Reading {
    message: Message,
    form: Form,
    expires_at: Option<Timestamp>,
    is_tombstone: bool,
    malformed: Option<Error>,
}

impl Reading {
    /// Begins with what every record has. `timestamp` is the record's own, where it says when the message
    /// was published.
    pub(crate) fn new(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp: Option<Timestamp>,
        form: Form,
    ) -> Self {
        let mut message = Message::tombstone();
        message.set_payload(value.map(Bytes::copy_from_slice));
        message.set_timestamp(timestamp);
        if let Some(key) = key.filter(|_| form == Form::Plain) {
            message = message.with_key(Bytes::copy_from_slice(key));
        }
        Self { message, form, expires_at: None, is_tombstone: false, malformed: None }
    }

    /// Takes one header.
    pub(crate) fn header(&mut self, name: &[u8], value: &[u8]) {
        let name = String::from_utf8_lossy(name);
        let mut message = std::mem::take(&mut self.message);
        match &*name {
            SPECVERSION | SOURCE => {}
            ID => message.set_id(MessageId::new(text(value))),
            TYPE => message = message.with_type(text(value)),
            CONTENT_TYPE => message = message.with_content_type(text(value)),
            SUBJECT => message = message.with_subject(text(value)),
            CORRELATION_ID => message = message.with_correlation_id(text(value)),
            REPLY_TO => message = message.with_reply_to(text(value)),
            CAUSATION_ID => message = message.with_causation_id(text(value)),
            TIME => {
                // A foreign event's time may be in any form: the record has one as well.
                if let Ok(time) = text(value).parse() {
                    message.set_timestamp(Some(time));
                }
            }
            KEY if self.form == Form::DeadLetter => {
                message = message.with_key(Bytes::copy_from_slice(value));
            }
            TOMBSTONE => self.is_tombstone = true,
            EXPIRES_AT => self.expires_at = self.number(&name, value).map(Timestamp::from_millis),
            DELIVER_AT => {
                if let Some(at) = self.number(&name, value) {
                    message = message.with_deliver_at(Timestamp::from_millis(at));
                }
            }
            SCHEMA => {
                if let Some(version) = self.number(&name, value) {
                    message = message.with_schema_version(version);
                }
            }
            PRIORITY => {
                if let Some(priority) = self.number(&name, value) {
                    message = message.with_priority(priority);
                }
            }
            name => message.headers_mut().insert(unescaped(name), Bytes::copy_from_slice(value)),
        }
        self.message = message;
    }

    /// The message.
    pub(crate) fn finish(self) -> Received {
        let Self { mut message, expires_at, is_tombstone, malformed, .. } = self;
        if is_tombstone && message.payload().is_some_and(Bytes::is_empty) {
            message.set_payload(None);
        }
        if let Some((expires_at, time)) = expires_at.zip(message.timestamp()) {
            let ttl: Duration = expires_at.saturating_since(time);
            message = message.with_ttl(ttl);
        }
        Received { message, malformed }
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str, value: &[u8]) -> Option<T> {
        let number = text(value).parse().ok();
        if number.is_none() {
            self.malformed.get_or_insert_with(|| unreadable(name));
        }
        number
    }
}

fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

fn unescaped(name: &str) -> &str {
    name.strip_prefix(ESCAPE).filter(|name| is_taken(name)).unwrap_or(name)
}

fn unreadable(name: &str) -> Error {
    Error::new(ErrorKind::Malformed, format!("the header `{name}` holds no number"))
        .with_help("headers that begin with `polymq-` are polymq's own: publish without them")
}
