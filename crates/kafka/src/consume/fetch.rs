//! From the client's queue to the table, in bursts: one lock for each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polymq_core::{Origin, Timestamp};
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;

use super::context::{Client, Context};
use super::settings::BUFFER_BYTES;
use super::shared::Shared;
use super::sources::{Sources, raw};
use crate::settle::{Item, Key, Record};

/// The most messages of one burst.
const BURST: usize = 256;

/// The most of them from one partition of the inbox.
const TIER_BURST: usize = 32;

/// How long the buffer is full before fetching is paused. Until then nothing is polled.
const FULL: Duration = Duration::from_millis(250);

/// What reads the client's queue.
pub(super) struct Fetcher {
    pub(super) sources: Sources,
    buffer: usize,
    full_since: Option<Instant>,
    /// Each partition of the inbox has a queue of its own: what is behind the channel's messages would wait
    /// for them.
    tiers: Vec<(Key, PartitionQueue<Context>)>,
    /// How much of each fits; kept for its memory.
    rooms: Vec<usize>,
}

/// What a burst brought.
#[derive(Debug, Default)]
pub(super) struct Burst {
    pub(super) records: Vec<(Key, Record<Item>)>,
    /// What went wrong, in librdkafka's words, and whether the client is of no use any more.
    pub(super) errors: Vec<(Code, String, bool)>,
    /// There was no more.
    pub(super) is_drained: bool,
}

impl Fetcher {
    pub(super) fn new(sources: Sources, buffer: usize) -> Self {
        Self { sources, buffer, full_since: None, tiers: Vec::new(), rooms: Vec::new() }
    }

    /// Reads these partitions of the inbox from now on.
    pub(super) fn open(&mut self, client: &Arc<Client>, keys: impl Iterator<Item = Key>) {
        for key in keys.filter(|key| key.origin == Origin::RetryInbox) {
            let queue =
                client.split_partition_queue(self.sources.topic(key.origin), raw(key.partition));
            if let Some(mut queue) = queue {
                let waker = std::thread::current();
                queue.set_nonempty_callback(move || waker.unpark());
                self.tiers.push((key, queue));
            }
        }
    }

    /// Reads these partitions no more.
    pub(super) fn close(&mut self, keys: &[Key]) {
        self.tiers.retain(|(key, _)| !keys.contains(key));
    }

    /// Brings what there is and fits.
    pub(super) fn fetch(&mut self, client: &Client, shared: &Shared, now: Timestamp) -> Burst {
        let mut burst = Burst { is_drained: true, ..Burst::default() };
        self.fetch_inbox(client, shared, now, &mut burst);
        self.fetch_channel(client, shared, now, &mut burst);
        burst
    }

    fn fetch_inbox(&mut self, client: &Client, shared: &Shared, now: Timestamp, burst: &mut Burst) {
        let mut rooms = std::mem::take(&mut self.rooms);
        {
            let state = shared.lock();
            let room = |(key, _): &(Key, _)| state.table.inbox_room(*key, now, self.buffer);
            rooms.extend(self.tiers.iter().map(room));
        }
        for (tier, room) in rooms.drain(..).enumerate() {
            let room = room.min(TIER_BURST);
            let mut left = room;
            while left > 0 {
                match self.tiers[tier].1.poll(Duration::ZERO) {
                    Some(polled) => burst.take(polled, &self.sources, client.context()),
                    None => break,
                };
                left -= 1;
            }
            burst.is_drained &= left > 0 || room == 0;
        }
        self.rooms = rooms;
    }

    fn fetch_channel(
        &mut self,
        client: &Client,
        shared: &Shared,
        now: Timestamp,
        burst: &mut Burst,
    ) {
        let mut room = {
            let state = shared.lock();
            let room = state.room(now, self.buffer);
            // Once full, it is filled up in one go.
            let is_full = room == 0 || (self.is_full() && !state.has_room(now, self.buffer));
            self.full_since = is_full.then(|| self.full_since.unwrap_or_else(Instant::now));
            room.clamp(1, BURST)
        };
        if self.is_full() && !self.is_full_for_long() {
            return;
        }
        let mut bytes = 0;
        while room > 0 && bytes < BUFFER_BYTES / 16 {
            let served = client.context().served();
            match client.poll(Duration::ZERO) {
                Some(polled) => {
                    bytes += burst.take(polled, &self.sources, client.context());
                    room -= 1;
                }
                None if client.context().served() != served => {}
                None => return,
            }
        }
        burst.is_drained = false;
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
}

impl Burst {
    /// Takes in what was polled; says how many bytes it has.
    fn take(
        &mut self,
        polled: KafkaResult<BorrowedMessage<'_>>,
        sources: &Sources,
        context: &Context,
    ) -> usize {
        match polled {
            Ok(message) => {
                let Some((key, record)) = sources.read(&message) else { return 0 };
                let bytes = record.bytes;
                self.records.push((key, record));
                bytes
            }
            Err(error) => {
                let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
                let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
                self.errors.push((code, context.take_reason(), is_fatal));
                0
            }
        }
    }
}
