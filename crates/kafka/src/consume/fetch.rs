//! From the client's queue to the table, in bursts: one lock for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polymq_core::{Error, Origin, Timestamp};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};

use super::context::Client;
use super::settings::BUFFER_BYTES;
use super::shared::Shared;
use crate::convert::{self, Form, Reading};
use crate::layout::GroupLayout;
use crate::settle::{Item, Key, Record};

/// The most messages of one burst.
const BURST: usize = 256;

/// How long the buffer is full before fetching is paused. Until then nothing is polled.
const FULL: Duration = Duration::from_millis(250);

/// What a message takes in memory, beside its payload and key.
const OWN_BYTES: usize = 512;

/// What reads the client's queue.
#[derive(Debug)]
pub(super) struct Fetcher {
    topic: Arc<str>,
    inbox: Arc<str>,
    form: Form,
    buffer: usize,
    burst: Vec<(Key, Record<Item>)>,
    full_since: Option<Instant>,
}

/// What a burst brought.
#[derive(Debug, Default)]
pub(super) struct Burst {
    pub(super) brought: usize,
    /// What went wrong, in librdkafka's words, and whether the client is of no use any more.
    pub(super) errors: Vec<(Code, String, bool)>,
    /// There was no more.
    pub(super) is_drained: bool,
}

impl Fetcher {
    pub(super) fn new(group: &GroupLayout, buffer: usize) -> Self {
        Self {
            topic: Arc::clone(&group.topic),
            inbox: Arc::clone(&group.inbox),
            form: if group.is_dead_letter { Form::DeadLetter } else { Form::Plain },
            buffer,
            burst: Vec::with_capacity(BURST),
            full_since: None,
        }
    }

    /// Brings what there is and fits.
    pub(super) fn fetch(&mut self, client: &Client, shared: &Shared, now: Timestamp) -> Burst {
        let mut room = {
            let state = shared.lock();
            let room = state.room(now, self.buffer);
            // Once full, it is filled up in one go.
            let is_full = room == 0 || (self.is_full() && !state.has_room(now, self.buffer));
            match is_full {
                true => self.full_since.get_or_insert_with(Instant::now),
                false => self.full_since.take().get_or_insert_with(Instant::now),
            };
            room.clamp(1, BURST)
        };
        let mut burst = Burst::default();
        if self.is_full() && !self.is_full_for_long() {
            burst.is_drained = true;
            return burst;
        }
        let mut bytes = 0;
        while room > 0 && bytes < BUFFER_BYTES / 16 {
            let served = client.context().served();
            match client.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    if let Some((key, record)) = self.read(&message) {
                        bytes += record.bytes;
                        self.burst.push((key, record));
                    }
                    room -= 1;
                }
                Some(Err(error)) => {
                    let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
                    let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                    burst.errors.push((code, client.context().take_reason(), is_fatal));
                    room -= 1;
                }
                None if client.context().served() != served => {}
                None => {
                    burst.is_drained = true;
                    break;
                }
            }
        }
        burst.brought = self.burst.len();
        if burst.brought > 0 {
            let mut state = shared.lock();
            for (key, record) in self.burst.drain(..) {
                state.table.push(key, record);
            }
            drop(state);
            shared.wake_receiver();
        }
        burst
    }

    /// Nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.full_since.is_some()
    }

    /// Nothing has fitted for so long that fetching is to be paused.
    pub(super) fn is_full_for_long(&self) -> bool {
        self.full_since.is_some_and(|since| since.elapsed() >= FULL)
    }

    /// When that begins.
    pub(super) fn full_for_long_at(&self) -> Option<Instant> {
        self.full_since.map(|since| since + FULL).filter(|at| *at > Instant::now())
    }

    /// The topic of a source.
    pub(super) fn topic(&self, origin: Origin) -> &str {
        match origin {
            Origin::Channel => &self.topic,
            Origin::RetryInbox => &self.inbox,
        }
    }

    /// The source that a topic is.
    pub(super) fn origin(&self, topic: &str) -> Option<Origin> {
        [Origin::Channel, Origin::RetryInbox].into_iter().find(|o| self.topic(*o) == topic)
    }

    fn read(&self, message: &BorrowedMessage<'_>) -> Option<(Key, Record<Item>)> {
        let origin = self.origin(message.topic())?;
        let partition = u32::try_from(message.partition()).ok()?;
        let time = message.timestamp().to_millis().and_then(|time| u64::try_from(time).ok());
        let (release, form, published) = match origin {
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
        let record = Record { offset: message.offset(), release, bytes, item };
        Some((Key { origin, partition }, record))
    }
}
