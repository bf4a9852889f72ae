//! Committing: one commit at a time, as rarely as the table's owner wants and the limits allow.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::session::Session;
use super::sources::raw;
use super::{native, starts};
use crate::error;
use crate::settle::{Commit, Key};

/// How long to wait after a commit failed.
const BACKOFF: Duration = Duration::from_millis(100);

/// How often a commit may fail before messages are handed out whose first hand-out it was to announce.
const ATTEMPTS: u32 = 20;

/// How long the last commit of what is let go may take.
const FAREWELL: Duration = Duration::from_secs(10);

/// How often the offsets of the inbox are committed anew. Kafka forgets those of a topic to which nobody of the
/// group has subscribed, after `offsets.retention.minutes`.
const RENEWAL: Duration = Duration::from_secs(3600);

/// When there is to be a commit.
#[derive(Debug)]
pub(super) struct Commits {
    interval: Duration,
    is_under_way: bool,
    due: Option<Instant>,
    /// Since the last success.
    failures: u32,
}

impl Commits {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, is_under_way: false, due: None, failures: 0 }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_under_way)
    }
}

impl Session<'_> {
    /// Takes what became of the last commit, and begins the next when it is time.
    pub(super) fn follow_commits(&mut self) {
        self.take_committed();
        if self.commits.is_under_way {
            return;
        }
        let mut state = self.shared.lock();
        if self.renewed_at.elapsed() > RENEWAL {
            self.renewed_at = Instant::now();
            state.table.renew_inbox();
        }
        let waiting = state.table.commits();
        state.is_commit_planned = waiting.any;
        drop(state);
        let now = Instant::now();
        let has_failed = self.commits.failures > 0;
        match self.commits.due {
            _ if !waiting.any => self.commits.due = None,
            Some(due) if now >= due || (waiting.urgent && !has_failed) => self.begin_commit(false),
            Some(_) => {}
            None if waiting.urgent => self.begin_commit(false),
            None => self.commits.due = Some(now + self.commits.interval),
        }
    }

    /// Commits everything there is to say of what is let go: says whether that is done, or as good as.
    pub(super) fn bid_farewell(&mut self, since: Instant) -> bool {
        self.take_committed();
        if self.commits.is_under_way {
            return since.elapsed() > FAREWELL;
        }
        if self.shared.lock().table.is_committed(false) || since.elapsed() > FAREWELL {
            return true;
        }
        if self.commits.failures == 0 || self.commits.due.is_none_or(|due| due <= Instant::now()) {
            self.begin_commit(false);
        }
        false
    }

    /// Commits everything, until `deadline`: says whether it could.
    pub(super) fn flush(&mut self, deadline: Instant) -> bool {
        self.commits.due = None;
        loop {
            self.take_committed();
            if !self.commits.is_under_way {
                if self.shared.lock().table.is_committed(true) {
                    return true;
                }
                if self.commits.due.is_none_or(|due| due <= Instant::now()) {
                    self.begin_commit(true);
                }
            }
            if Instant::now() >= deadline {
                tracing::warn!(
                    consumer = %self.wanted.subscription.consumer,
                    "closed before everything that was handled was committed: it will come again"
                );
                return false;
            }
            // What it brings is not taken: it comes again.
            let _ = self.client.poll(Duration::from_millis(10));
        }
    }

    fn begin_commit(&mut self, closing: bool) {
        self.commits.due = None;
        let commits = self.shared.lock().table.begin_commit(closing);
        if commits.is_empty() {
            return;
        }
        let begun = self.commit_list(&commits).and_then(|list| native::commit(self.client, &list));
        match begun {
            Ok(()) => self.commits.is_under_way = true,
            Err(error) => self.end_commit(Err(error), |_| false),
        }
    }

    fn commit_list(&self, commits: &[Commit]) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(commits.len());
        for Commit { key, offset, starts } in commits {
            let mut element = list.add_partition(self.topic(*key), raw(key.partition));
            element.set_offset(Offset::Offset(*offset))?;
            element.set_metadata(starts::write(*starts));
        }
        Ok(list)
    }

    fn take_committed(&mut self) {
        let Some((result, list)) = self.client.context().take_committed() else { return };
        self.commits.is_under_way = false;
        let elements = list.elements();
        let (arrived, failed): (Vec<_>, Vec<_>) =
            elements.iter().partition(|element| element.error().is_ok());
        let is_answered = result.is_ok();
        let failure = failed.into_iter().find_map(|element| element.error().err());
        let result = result.and_then(|()| failure.map_or(Ok(()), Err));
        let arrived: Vec<Key> = arrived.into_iter().filter_map(|e| self.key(e)).collect();
        drop(elements);
        self.end_commit(result, |key| is_answered && arrived.contains(&key));
    }

    fn end_commit(&mut self, result: KafkaResult<()>, has_arrived: impl Fn(Key) -> bool) {
        let mut state = self.shared.lock();
        state.table.end_commit(has_arrived);
        match result {
            Ok(()) => {
                self.commits.failures = 0;
                self.watch.up();
            }
            Err(failure) => {
                self.commits.failures += 1;
                self.commits.due = Some(Instant::now() + BACKOFF);
                let code = error::code(&failure);
                let is_passing = code == Some(Code::RebalanceInProgress);
                if !is_passing || self.commits.failures >= ATTEMPTS {
                    state.table.open_all();
                }
                tracing::debug!(
                    consumer = %self.wanted.subscription.consumer, error = %failure,
                    "offsets could not be committed; trying again"
                );
            }
        }
        drop(state);
        self.shared.wake_receiver();
    }
}
