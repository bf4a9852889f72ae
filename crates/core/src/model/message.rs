use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smol_str::SmolStr;

use super::{Headers, MessageId, Payload, Timestamp};
use crate::Error;

/// What an application sends.
///
/// Everything is optional but nothing is guessed: a publisher gives a message without an id or a
/// timestamp both of them, and an adapter fills in what the broker carried. A payload can be empty
/// (zero bytes) or absent (a tombstone); the two stay apart on every broker.
///
/// Cloning is cheap: bytes and headers are shared. The fields that few messages use share one
/// allocation, made on first use.
///
/// ```
/// use std::time::Duration;
/// use polymq_core::Message;
///
/// let message = Message::new("hello")
///     .with_type("greeting")
///     .with_key("customer-7")
///     .with_header("tenant", "acme")
///     .with_ttl(Duration::from_secs(60));
/// assert_eq!(message.payload().unwrap(), "hello");
/// assert_eq!(message.message_type(), Some("greeting"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    id: Option<MessageId>,
    message_type: Option<SmolStr>,
    content_type: Option<SmolStr>,
    key: Option<Bytes>,
    payload: Option<Bytes>,
    timestamp: Option<Timestamp>,
    headers: Headers,
    details: Option<Arc<Details>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Details {
    subject: Option<SmolStr>,
    correlation_id: Option<SmolStr>,
    causation_id: Option<SmolStr>,
    reply_to: Option<SmolStr>,
    schema_version: Option<u32>,
    ttl: Option<Duration>,
    deliver_at: Option<Timestamp>,
    priority: Option<u8>,
}

macro_rules! text_detail {
    ($(#[$doc:meta])* $field:ident, $with:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(&self) -> Option<&str> {
            self.details.as_ref()?.$field.as_deref()
        }

        #[doc = concat!("Sets [`Message::", stringify!($field), "`].")]
        #[must_use]
        pub fn $with(mut self, value: impl Into<SmolStr>) -> Self {
            self.details_mut().$field = Some(value.into());
            self
        }
    };
}

macro_rules! detail {
    ($(#[$doc:meta])* $field:ident: $type:ty, $with:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $field(&self) -> Option<$type> {
            self.details.as_ref()?.$field
        }

        #[doc = concat!("Sets [`Message::", stringify!($field), "`].")]
        #[must_use]
        pub fn $with(mut self, value: $type) -> Self {
            self.details_mut().$field = Some(value);
            self
        }
    };
}

impl Message {
    /// A message with this payload and nothing else.
    #[must_use]
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: Some(payload.into()), ..Self::default() }
    }

    /// A message without a payload: on a log, the tombstone of its key.
    #[must_use]
    pub fn tombstone() -> Self {
        Self::default()
    }

    /// Encodes a typed payload, with its type, key, content type and schema version.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) when the payload cannot be encoded.
    pub fn of<P: Payload>(payload: &P) -> Result<Self, Error> {
        let message = Self {
            message_type: Some(SmolStr::new_static(P::TYPE)),
            content_type: Some(SmolStr::new_static(P::CONTENT_TYPE)),
            key: payload.key().map(Bytes::copy_from_slice),
            payload: Some(payload.encode()?),
            ..Self::default()
        };
        Ok(match P::SCHEMA_VERSION {
            Some(version) => message.with_schema_version(version),
            None => message,
        })
    }

    fn details_mut(&mut self) -> &mut Details {
        Arc::make_mut(self.details.get_or_insert_default())
    }

    /// Identifies the message across hops and redeliveries.
    #[must_use]
    pub fn id(&self) -> Option<&MessageId> {
        self.id.as_ref()
    }

    /// Sets the id. An empty text means none: the publisher will generate one.
    #[must_use]
    pub fn with_id(mut self, id: impl AsRef<str>) -> Self {
        self.id = MessageId::new(id);
        self
    }

    /// Sets or clears the id.
    pub fn set_id(&mut self, id: Option<MessageId>) {
        self.id = id;
    }

    /// The name of the payload's type, by which a consumer chooses the handler.
    #[must_use]
    pub fn message_type(&self) -> Option<&str> {
        self.message_type.as_deref()
    }

    /// Sets [`Message::message_type`].
    #[must_use]
    pub fn with_type(mut self, name: impl Into<SmolStr>) -> Self {
        self.message_type = Some(name.into());
        self
    }

    /// The media type of the payload.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Sets [`Message::content_type`].
    #[must_use]
    pub fn with_content_type(mut self, media_type: impl Into<SmolStr>) -> Self {
        self.content_type = Some(media_type.into());
        self
    }

    /// The key: messages of one key keep their order on a channel with `order_by = "key"`.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// Sets [`Message::key`].
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The payload; `None` is a tombstone, which is not the same as zero bytes.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        self.payload.as_ref()
    }

    /// Sets or clears the payload.
    pub fn set_payload(&mut self, payload: Option<Bytes>) {
        self.payload = payload;
    }

    /// When the message was first published, by the publisher's clock.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// Sets [`Message::timestamp`]; a publisher keeps it, and fills it in where it is missing.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Sets or clears the timestamp.
    pub fn set_timestamp(&mut self, timestamp: Option<Timestamp>) {
        self.timestamp = timestamp;
    }

    /// The application's headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The application's headers, to change.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Changes the headers without copying them when there are none.
    pub(crate) fn headers_mut_if_any(&mut self, change: impl FnOnce(&mut Headers)) {
        if !self.headers.is_empty() {
            change(&mut self.headers);
        }
    }

    /// Sets one header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<SmolStr>, value: impl Into<Bytes>) -> Self {
        self.headers.insert(name, value);
        self
    }

    text_detail!(
        /// What within its channel the message is about (`orders.42.created`).
        subject, with_subject
    );
    text_detail!(
        /// Ties together the messages of one conversation.
        correlation_id, with_correlation_id
    );
    text_detail!(
        /// The id of the message that caused this one.
        causation_id, with_causation_id
    );
    text_detail!(
        /// Where an answer is to be sent.
        reply_to, with_reply_to
    );
    detail!(
        /// The version of the payload's schema.
        schema_version: u32, with_schema_version
    );
    detail!(
        /// How long after its timestamp the message may still be handled.
        ttl: Duration, with_ttl
    );
    detail!(
        /// Not to be handled before this moment.
        deliver_at: Timestamp, with_deliver_at
    );
    detail!(
        /// From 0, the default, upwards; only where the broker has priorities.
        priority: u8, with_priority
    );

    /// Clears [`Message::deliver_at`]: the wait is over.
    pub fn clear_deliver_at(&mut self) {
        if self.deliver_at().is_some() {
            self.details_mut().deliver_at = None;
        }
    }

    /// The moment after which the message must not be handled: timestamp plus time-to-live.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        Some(self.timestamp? + self.ttl()?)
    }

    /// The bytes that count against size limits: payload, key, headers and the text fields.
    #[must_use]
    pub fn size(&self) -> usize {
        let details = self.details.as_ref().map_or(0, |d| {
            [&d.subject, &d.correlation_id, &d.causation_id, &d.reply_to]
                .into_iter()
                .flatten()
                .map(SmolStr::len)
                .sum()
        });
        self.payload.as_ref().map_or(0, Bytes::len)
            + self.key.as_ref().map_or(0, Bytes::len)
            + self.headers.size()
            + self.id.as_ref().map_or(0, |id| id.as_str().len())
            + self.message_type.as_ref().map_or(0, SmolStr::len)
            + self.content_type.as_ref().map_or(0, SmolStr::len)
            + details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_payload_is_not_a_tombstone() {
        assert_ne!(Message::new(""), Message::tombstone());
        assert_eq!(Message::new("").payload().map(Bytes::len), Some(0));
    }

    #[test]
    fn expiry_needs_a_timestamp_and_a_ttl() {
        let message = Message::new("x").with_ttl(Duration::from_secs(1));
        assert_eq!(message.expires_at(), None);
        let message = message.with_timestamp(Timestamp::from_millis(5));
        assert_eq!(message.expires_at(), Some(Timestamp::from_millis(1005)));
    }

    #[test]
    fn the_message_stays_small_enough_to_move() {
        assert!(size_of::<Message>() <= 168, "{}", size_of::<Message>());
    }
}
