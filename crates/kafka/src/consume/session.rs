//! The loop of one client: fetch, follow rebalances, commit, turn partitions off and on, sleep.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use polymq_core::Result;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::topic_partition_list::TopicPartitionListElem;

use super::Attach;
use super::commits::Commits;
use super::context::{Client, Rebalance};
use super::errors::Ranges;
use super::fetch::{Burst, Fetcher};
use super::rebalance::Leaving;
use super::shared::{Closing, Phase, Shared};
use super::sources::{Sources, raw};
use crate::context::Watch;
use crate::settle::Key;

/// How long a thread sleeps at most: what wakes it otherwise is only nearly complete.
const NAP: Duration = Duration::from_millis(500);

/// How often the brokers are asked whether they are back.
const PROBE: Duration = Duration::from_secs(1);

/// How a client's life ends, unless it has to be replaced.
#[derive(Debug)]
pub(super) enum End {
    /// The consumer was closed.
    Closed {
        /// Everything that was handled is committed.
        flushed: bool,
    },
}

pub(super) struct Session<'a> {
    pub(super) wanted: &'a Attach,
    pub(super) shared: &'a Shared,
    pub(super) watch: &'a Watch,
    pub(super) client: &'a Arc<Client>,
    pub(super) fetcher: Fetcher,
    pub(super) commits: Commits,
    pub(super) ranges: Ranges,
    /// A rebalance that is being served.
    pub(super) rebalance: Option<Rebalance>,
    pub(super) leaving: Option<Leaving>,
    /// When to try again what could not be served.
    pub(super) retry_at: Option<Instant>,
    probe_at: Instant,
    /// Since when the group knows this member.
    joined: Option<Instant>,
    /// How many partitions the channel has: by that the inbox's follow.
    pub(super) partitions: Option<u32>,
    /// When all offsets of the inbox were last committed anew.
    pub(super) renewed_at: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        wanted: &'a Attach,
        shared: &'a Shared,
        watch: &'a Watch,
        client: &'a Arc<Client>,
        sources: Sources,
    ) -> Self {
        let interval = wanted.target.table().commit_interval.0;
        Self {
            wanted,
            shared,
            watch,
            client,
            fetcher: Fetcher::new(sources, shared.buffer),
            commits: Commits::new(interval),
            ranges: Ranges::default(),
            rebalance: None,
            leaving: None,
            retry_at: None,
            probe_at: Instant::now(),
            joined: None,
            partitions: None,
            renewed_at: Instant::now(),
        }
    }

    /// Runs until the consumer is closed.
    ///
    /// # Errors
    /// Why another client is needed.
    pub(super) fn run(&mut self) -> Result<End> {
        loop {
            match self.shared.closing() {
                Some(Closing::Dropped) => return Ok(End::Closed { flushed: false }),
                Some(Closing::Orderly(deadline)) => {
                    return Ok(End::Closed { flushed: self.flush(deadline.into_std()) });
                }
                None => {}
            }
            let is_drained = self.fetch()?;
            self.follow_rebalances()?;
            self.follow_commits();
            self.check_ranges();
            self.turn_taps();
            self.probe()?;
            if is_drained {
                thread::park_timeout(self.nap());
            }
        }
    }

    /// A rebalance that was not served to its end.
    pub(super) fn rest(self) -> Option<Rebalance> {
        self.rebalance.or_else(|| self.client.context().take_rebalance())
    }

    /// Fetches a burst; says whether there was no more.
    fn fetch(&mut self) -> Result<bool> {
        let now = self.wanted.clock.now();
        let Burst { records, errors, is_drained } =
            self.fetcher.fetch(self.client, self.shared, now);
        if !records.is_empty() {
            let mut state = self.shared.lock();
            records.into_iter().for_each(|(key, record)| state.table.push(key, record));
            drop(state);
            self.shared.wake_receiver();
            self.watch.up();
        }
        for (code, reason, is_fatal) in errors {
            self.follow_error(code, &reason, is_fatal)?;
        }
        Ok(is_drained)
    }

    /// Pauses what is full, and resumes what no longer is.
    fn turn_taps(&mut self) {
        let is_full = self.fetcher.is_full_for_long();
        let mut state = self.shared.lock();
        let (shut, opened) = state.table.turn_taps(self.wanted.clock.now(), is_full);
        state.is_fetching_less = self.fetcher.is_full() || state.table.has_paused();
        drop(state);
        for (keys, is_shut) in [(shut, true), (opened, false)] {
            if keys.is_empty() {
                continue;
            }
            let list = self.list(keys);
            let turned = if is_shut { self.client.pause(&list) } else { self.client.resume(&list) };
            if let Err(error) = turned {
                tracing::debug!(%error, "a partition that went meanwhile");
            }
        }
    }

    /// While nothing is heard of the brokers, asks for it: an idle consumer would not notice that they are
    /// back.
    fn probe(&mut self) -> Result<()> {
        if self.client.context().is_refused() {
            return Err(crate::error::by_code(rdkafka::error::RDKafkaErrorCode::Authentication));
        }
        if self.watch.is_down() && self.probe_at <= Instant::now() {
            let asked = self.client.fetch_metadata(Some(&self.wanted.group.topic), PROBE);
            if asked.is_ok() {
                self.watch.up();
            }
            self.probe_at = Instant::now() + PROBE;
        }
        // librdkafka may not tell of an assignment in which there is nothing.
        let has_joined = matches!(self.client.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let is_attaching = *self.shared.phase.borrow() == Phase::Attaching;
        if is_attaching && has_joined && self.rebalance.is_none() {
            let since = *self.joined.get_or_insert_with(Instant::now);
            if since.elapsed() > PROBE {
                self.shared.phase.send_replace(Phase::Attached);
            }
        }
        Ok(())
    }

    fn nap(&self) -> Duration {
        let timers = [
            self.commits.due(),
            self.leaving.as_ref().map(|leaving| leaving.deadline),
            self.retry_at,
            self.fetcher.full_for_long_at(),
            self.watch.is_down().then_some(self.probe_at),
        ];
        let next = timers.into_iter().flatten().min();
        let now = Instant::now();
        next.map_or(NAP, |next| next.saturating_duration_since(now).min(NAP))
    }

    /// These partitions in librdkafka's terms.
    pub(super) fn list(&self, keys: impl IntoIterator<Item = Key>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for key in keys {
            list.add_partition(self.topic(key), raw(key.partition));
        }
        list
    }

    /// The partitions of a list.
    pub(super) fn keys(&self, list: &TopicPartitionList) -> Vec<Key> {
        let elements = list.elements();
        elements.iter().filter_map(|element| self.key(element)).collect()
    }

    /// The partition that an element of a list is about.
    pub(super) fn key(&self, element: &TopicPartitionListElem<'_>) -> Option<Key> {
        self.fetcher.sources.key(element.topic(), element.partition())
    }

    /// The topic of a partition.
    pub(super) fn topic(&self, key: Key) -> &str {
        self.fetcher.sources.topic(key.origin)
    }
}
