//! What librdkafka tells a consumer about, beside messages.

use std::time::{Duration, Instant};

use polymq_core::broker::Event;
use polymq_core::{ErrorKind, Origin, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::attachment::{PATIENCE, of_group};
use super::session::Session;
use super::shared::Phase;
use super::sources::raw;
use crate::error;
use crate::settle::Key;

/// How often it is said again that a partition cannot be read.
const REMINDER: Duration = Duration::from_secs(60);

/// When to ask whether offsets exist.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    check_at: Option<Instant>,
}

impl Session<'_> {
    /// Acts on an error. What passes by itself is no error of `recv`.
    ///
    /// # Errors
    /// When the client is of no use any more, or whoever attaches has to know.
    pub(super) fn follow_error(&mut self, code: Code, reason: &str, is_fatal: bool) -> Result<()> {
        if is_fatal {
            return Err(error::reported(code, reason));
        }
        let consumer = &self.wanted.subscription.consumer;
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                self.ranges.check_at = Some(Instant::now());
                return Ok(());
            }
            Code::PollExceeded => {
                tracing::warn!(%consumer, "the group has gone on without this consumer; joining again");
                return Ok(());
            }
            _ => {}
        }
        let error = of_group(code, reason, self.wanted);
        match error.kind() {
            ErrorKind::NotFound => {
                self.tell_lost(reason);
                return Err(error);
            }
            ErrorKind::PermissionDenied
            | ErrorKind::TopologyMismatch
            | ErrorKind::Config
            | ErrorKind::Unsupported => {}
            _ => {
                tracing::debug!(%consumer, %code, reason, "librdkafka");
                return Ok(());
            }
        }
        if *self.shared.phase.borrow() == Phase::Attaching {
            return Err(error);
        }
        self.shared.fail(error);
        Ok(())
    }

    /// A topic that went and comes again is another one, whose offsets begin anew: the client, which knows
    /// it by its name, is of no use any more.
    fn tell_lost(&self, reason: &str) {
        let group = &self.wanted.group;
        let is_inbox = reason.contains(&*group.inbox);
        self.shared.lock().is_channel_anew |= !is_inbox;
        let object = if is_inbox { &group.inbox } else { &group.topic }.to_string();
        let event = Event::TopologyLost { object };
        self.shared.events.send(event.clone());
        self.wanted.broker_events.send(event);
    }

    /// Asks whether the offsets that are to be read exist. On a retry inbox only a purge removes what was
    /// not handled, so it goes on behind it.
    pub(super) fn check_ranges(&mut self) {
        if self.ranges.check_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.ranges.check_at = None;
        let fetches = self.shared.lock().table.fetches();
        for (key, next) in fetches {
            let topic = self.topic(key);
            let partition = raw(key.partition);
            let asked = self.client.fetch_watermarks(topic, partition, PATIENCE);
            let Ok((low, high)) = asked else {
                self.ranges.check_at = Some(Instant::now() + PATIENCE);
                continue;
            };
            let exists = (low..=high).contains(&next);
            let go_on = match (exists, key.origin) {
                // Which ones librdkafka has stopped fetching, it doesn't say.
                (true, _) => next,
                (false, Origin::RetryInbox) => low,
                (false, Origin::Channel) => {
                    self.shared.lock().table.set_lost(key, true);
                    self.shared.fail(error::out_of_range(topic, key.partition, next, low, high));
                    self.ranges.check_at = Some(Instant::now() + REMINDER);
                    continue;
                }
            };
            match self.read_from(key, go_on) {
                Ok(()) => self.shared.lock().table.go_on_at(key, go_on),
                Err(error) => {
                    tracing::debug!(%error, topic, partition, "reading on later");
                    self.ranges.check_at = Some(Instant::now() + PATIENCE);
                }
            }
        }
    }

    /// Reads a partition from an offset on. librdkafka seeks only where it is fetching.
    fn read_from(&self, key: Key, offset: i64) -> KafkaResult<()> {
        let (topic, partition) = (self.topic(key), raw(key.partition));
        let offset = Offset::Offset(offset);
        if self.client.seek(topic, partition, offset, PATIENCE).is_ok() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, offset)?;
        self.client.incremental_unassign(&list)?;
        self.client.incremental_assign(&list)
    }
}
