use std::sync::Arc;

use polymq_core::{Error, Origin, Timestamp};
use rdkafka::message::{BorrowedMessage, Message as _};

use crate::convert::{self, Form, Reading};
use crate::layout::GroupLayout;
use crate::settle::{Item, Key, Record};

/// What a message takes in memory, beside its payload and key.
const OWN_BYTES: usize = 512;

/// The two topics that a consumer reads, and how it reads them.
#[derive(Debug)]
pub(super) struct Sources {
    topic: Arc<str>,
    inbox: Arc<str>,
    form: Form,
}

impl Sources {
    pub(super) fn new(group: &GroupLayout) -> Self {
        Self {
            topic: Arc::clone(&group.topic),
            inbox: Arc::clone(&group.inbox),
            form: if group.is_dead_letter { Form::DeadLetter } else { Form::Plain },
        }
    }

    /// The topic of a source.
    pub(super) fn topic(&self, origin: Origin) -> &str {
        match origin {
            Origin::Channel => &self.topic,
            Origin::RetryInbox => &self.inbox,
        }
    }

    /// The partition of a source that librdkafka names so.
    pub(super) fn key(&self, topic: &str, partition: i32) -> Option<Key> {
        let mut origins = [Origin::Channel, Origin::RetryInbox].into_iter();
        let origin = origins.find(|origin| self.topic(*origin) == topic)?;
        Some(Key { origin, partition: u32::try_from(partition).ok()? })
    }

    /// Reads a record: all of it is copied, and librdkafka has its memory back.
    pub(super) fn read(&self, message: &BorrowedMessage<'_>) -> Option<(Key, Record<Item>)> {
        let source = self.key(message.topic(), message.partition())?;
        let time = message.timestamp().to_millis().and_then(|time| u64::try_from(time).ok());
        let (release, form, published) = match source.origin {
            Origin::Channel => (0, self.form, time.map(Timestamp::from_millis)),
            Origin::RetryInbox => (time.unwrap_or(0), Form::Plain, None),
        };
        let (key, value) = (message.key(), message.payload());
        let is_removal = form == Form::DeadLetter && value.is_none();
        let item = (!is_removal).then(|| {
            let mut reading = Reading::new(key, value, published, form);
            convert::each(message, |name, value| reading.header(name, value));
            let received = reading.finish();
            (received.message, received.malformed.map(Arc::<Error>::new))
        });
        let bytes = OWN_BYTES + message.payload_len() + message.key_len();
        Some((source, Record { offset: message.offset(), release, bytes, item }))
    }
}

/// A partition's number as librdkafka has it.
pub(super) fn raw(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
