//! Following rebalances, turn by turn.

use std::time::{Duration, Instant};

use polymq_core::broker::Event;
use polymq_core::{Error, ErrorKind, Origin, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::context::Rebalance;
use super::session::Session;
use super::shared::Phase;
use super::sources::raw;
use super::starts::Placement;
use crate::error;
use crate::settle::Key;

/// How long to wait before the brokers are asked again where to begin.
const BACKOFF: Duration = Duration::from_millis(200);

/// Partitions that are being let go.
#[derive(Debug)]
pub(super) struct Leaving {
    /// When they are let go at the latest.
    pub(super) deadline: Instant,
    /// Since when nothing is left to wait for but the last commit.
    finished: Option<Instant>,
}

impl Session<'_> {
    /// Serves what is to be served, as far as it goes.
    ///
    /// # Errors
    /// When the client is of no use any more.
    pub(super) fn follow_rebalances(&mut self) -> Result<()> {
        while self.retry_at.is_none_or(|at| at <= Instant::now()) {
            let rebalance =
                self.rebalance.take().or_else(|| self.client.context().take_rebalance());
            let is_served = match &rebalance {
                None => return Ok(()),
                Some(Rebalance::Assign(list)) => self.assign(list)?,
                Some(Rebalance::Revoke(list)) => self.revoke(list)?,
            };
            if !is_served {
                self.rebalance = rebalance;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes partitions on; `false` to try again.
    fn assign(&mut self, list: &TopicPartitionList) -> Result<bool> {
        let placed = match self.followed(list) {
            Ok(Some(list)) => self.place(&list).map_err(|e| error::native(&e)).map(Some),
            other => other.map(|_| None),
        };
        let placement = match placed {
            Ok(Some(placement)) => placement,
            Err(error) if !error.is_retryable() => return Err(error),
            unknown => {
                let error = unknown.err();
                tracing::debug!(?error, "the group's offsets cannot be read; trying again");
                self.retry_at = Some(Instant::now() + BACKOFF);
                return Ok(false);
            }
        };
        self.retry_at = None;
        let Placement { starts, refused } = placement;
        if !refused.is_empty() && *self.shared.phase.borrow() == Phase::Attaching {
            return Err(self.no_offsets());
        }
        let begins = starts.iter().map(|start| (start.key, Offset::Offset(start.offset)));
        let ends = refused.iter().map(|key| (*key, Offset::End));
        let list = self.list_at(begins.chain(ends)).map_err(|e| error::native(&e))?;
        self.client.incremental_assign(&list).map_err(|e| unfollowed(&e))?;
        // librdkafka remembers that a partition was paused when it was last ours.
        self.client.resume(&list).map_err(|e| unfollowed(&e))?;
        self.fetcher.open(self.client, starts.iter().map(|start| start.key));
        let partitions = channel_partitions(starts.iter().map(|start| start.key));
        let mut state = self.shared.lock();
        state.is_channel_anew &= partitions.is_empty();
        for start in starts {
            state.table.assign(start);
        }
        drop(state);
        if !refused.is_empty() {
            let paused = self.client.pause(&self.list(refused));
            paused.map_err(|e| error::native(&e))?;
            self.shared.fail(self.no_offsets());
        }
        self.shared.events.send(Event::Assigned { partitions });
        self.shared.phase.send_replace(Phase::Attached);
        self.watch.up();
        Ok(true)
    }

    /// Lets partitions go when nothing of them is in hand; `false` while they are waited for.
    fn revoke(&mut self, list: &TopicPartitionList) -> Result<bool> {
        let list = &self.still_followed(list);
        let keys = self.keys(list);
        let is_lost = self.client.assignment_lost();
        if !is_lost && !self.has_left(&keys) {
            return Ok(false);
        }
        self.leaving = None;
        self.fetcher.close(&keys);
        let stale = self.shared.lock().table.unassign(|key| keys.contains(&key));
        if !stale.is_empty() {
            self.shared.events.send(Event::LeaseLost { tokens: stale });
        }
        self.client.incremental_unassign(list).map_err(|e| unfollowed(&e))?;
        self.shared.wake_receiver();
        Ok(true)
    }

    /// Whether these partitions can be let go: nothing of them is in hand, or their time is up, and what is
    /// done is committed.
    fn has_left(&mut self, keys: &[Key]) -> bool {
        let now = Instant::now();
        let mut leaving = self.leaving.take().unwrap_or_else(|| self.begin_leaving(keys));
        let state = self.shared.lock();
        let is_over =
            state.table.has_left() || !state.table.is_leaving() || now >= leaving.deadline;
        if is_over && leaving.finished.is_none() {
            leaving.finished = Some(now);
        }
        drop(state);
        let finished = leaving.finished;
        self.leaving = Some(leaving);
        finished.is_some_and(|since| self.bid_farewell(since))
    }

    fn begin_leaving(&self, keys: &[Key]) -> Leaving {
        let patience = self.wanted.target.table().revoke_timeout.0;
        let tokens = self.shared.lock().table.leave(|key| keys.contains(&key));
        let partitions = channel_partitions(keys.iter().copied());
        let deadline = self.wanted.clock.instant() + patience;
        self.shared.events.send(Event::Revoked { tokens, partitions, deadline });
        Leaving { deadline: Instant::now() + patience, finished: None }
    }

    fn list_at(
        &self,
        places: impl Iterator<Item = (Key, Offset)>,
    ) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (key, offset) in places {
            list.add_partition_offset(self.topic(key), raw(key.partition), offset)?;
        }
        Ok(list)
    }
}

fn channel_partitions(keys: impl Iterator<Item = Key>) -> Vec<u32> {
    keys.filter(|key| key.origin == Origin::Channel).map(|key| key.partition).collect()
}

fn unfollowed(error: &KafkaError) -> Error {
    Error::new(ErrorKind::Disconnected, format!("a rebalance could not be followed: {error}"))
}
