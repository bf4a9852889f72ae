//! What an operator asks of one source: its topic, as its group sees it.

use std::collections::HashSet;
use std::sync::Arc;

use polymq_core::broker::{Depth, PartitionLag, StartPosition};
use polymq_core::{Error, ErrorKind, Result, Timestamp};
use rdkafka::Offset;
use tokio::time::Instant;

use crate::layout::GroupLayout;
use crate::scan::Scan;
use crate::session::{Session, list, of_topic};
use crate::target::Target;
use crate::{error, offsets, scan};

/// Which of a group's two topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Channel,
    Inbox,
}

/// A topic and the group that reads it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) part: Part,
    /// A record without a value removes another one.
    pub(crate) has_removals: bool,
}

/// What lies between where the group is and the end, of each partition.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) from: Vec<i64>,
    pub(crate) ends: Vec<i64>,
}

impl Waiting {
    fn count(&self) -> u64 {
        self.from.iter().zip(&self.ends).map(|(from, end)| apart(*from, *end)).sum()
    }
}

fn apart(from: i64, to: i64) -> u64 {
    u64::try_from(to - from).unwrap_or(0)
}

/// How many records of a dead-letter topic are read to count those that were not removed. Above, it is told
/// how many were written.
const COUNTED: u64 = 100_000;

impl Log {
    pub(crate) fn new(names: GroupLayout, part: Part) -> Self {
        let (topic, has_removals) = match part {
            Part::Channel => (names.topic, names.is_dead_letter),
            Part::Inbox => (names.inbox, false),
        };
        Self { group: names.id, topic, part, has_removals }
    }

    /// A client for this log.
    pub(crate) fn open(&self, target: &Target, deadline: Instant) -> Result<Session> {
        Session::open(target, Some(&self.group), deadline)
    }

    /// What the group has not handled. Where it has committed nothing, that is everything.
    pub(crate) fn waiting(&self, session: &Session) -> Result<Waiting> {
        let partitions = session.existing(&self.topic)?.partitions;
        let beginnings = session.beginnings(&self.topic, partitions)?;
        let committed = session.committed(&self.topic, partitions)?;
        let ends = session.ends(&self.topic, partitions)?;
        let from = beginnings.into_iter().zip(committed);
        let from = from.map(|(first, committed)| committed.map_or(first, |c| c.max(first)));
        Ok(Waiting { from: from.collect(), ends })
    }

    /// What of it lies at and behind a position. Of a position, which is one partition's, nothing of the others.
    pub(crate) fn narrow(
        &self,
        session: &Session,
        waiting: Waiting,
        to: StartPosition,
    ) -> Result<Waiting> {
        if let (Part::Inbox, StartPosition::Timestamp(_)) = (self.part, to) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a retry inbox keeps no publishing times",
            )
            .with_help("browse it from `earliest`"));
        }
        let mut from = waiting.ends.clone();
        for (partition, offset) in offsets::targets(session, &self.topic, &waiting.ends, to)? {
            from[partition as usize] = offset.max(waiting.from[partition as usize]);
        }
        Ok(Waiting { from, ..waiting })
    }

    /// The keys of what was removed from a dead-letter topic and not yet passed.
    pub(crate) fn removals(&self, target: &Target, deadline: Instant) -> Result<HashSet<Vec<u8>>> {
        let mut keys = HashSet::new();
        if self.has_removals {
            let session = self.open(target, deadline)?;
            let waiting = self.waiting(&session)?;
            scan::add_removals(&mut keys, &session, Scan::begin(&session, &self.topic, &waiting)?)?;
        }
        Ok(keys)
    }

    /// What each partition's group is behind its end.
    pub(crate) fn lag(&self, target: &Target, deadline: Instant) -> Result<Vec<PartitionLag>> {
        let waiting = self.waiting(&self.open(target, deadline)?)?;
        let ranges = waiting.from.iter().zip(&waiting.ends);
        let lags = (0..).zip(ranges).map(|(partition, (from, end))| PartitionLag {
            partition,
            messages: apart(*from, *end),
        });
        Ok(lags.collect())
    }

    /// How much waits. What is in flight counts as ready: it is not committed.
    pub(crate) fn depth(
        &self,
        target: &Target,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Depth> {
        let session = self.open(target, deadline)?;
        let waiting = self.waiting(&session)?;
        let mut depth = Depth::ready(waiting.count());
        if self.has_removals && depth.ready <= COUNTED {
            depth.ready = scan::remaining(&session, &self.topic, &waiting)?;
        }
        depth.delayed = Some(match self.part {
            Part::Channel => 0,
            Part::Inbox => self.delayed(&session, &waiting, now)?,
        });
        depth.ready -= depth.delayed.unwrap_or_default();
        Ok(depth)
    }

    /// What lies behind the first record of a tier that is not released yet.
    fn delayed(&self, session: &Session, waiting: &Waiting, now: Timestamp) -> Result<u64> {
        let partitions = u32::try_from(waiting.ends.len()).unwrap_or(u32::MAX);
        let later = i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_add(1);
        let first = session.at_time(&self.topic, partitions, later)?;
        let tiers = first.into_iter().zip(&waiting.from).zip(&waiting.ends);
        let delayed = tiers
            .map(|((first, from), end)| first.map_or(0, |first| apart(first.max(*from), *end)));
        Ok(delayed.sum())
    }

    /// Leaves out everything that waits, and says how much that was. A channel's log stays, for other groups
    /// and for going back: its group moves to the end, which it can while it has no members. Inboxes and
    /// dead letters are deleted.
    pub(crate) fn purge(&self, target: &Target, deadline: Instant) -> Result<u64> {
        let session = self.open(target, deadline)?;
        let waiting = self.waiting(&session)?;
        let count = match self.has_removals && waiting.count() <= COUNTED {
            true => scan::remaining(&session, &self.topic, &waiting)?,
            false => waiting.count(),
        };
        let ends = (0..).zip(waiting.ends);
        match self.part {
            Part::Channel if !self.has_removals => session.commit(&self.topic, ends)?,
            _ => delete_before(&session, &self.topic, ends)?,
        }
        Ok(count)
    }
}

/// Deletes records by moving the beginning of each partition.
pub(crate) fn delete_before(
    session: &Session,
    topic: &str,
    offsets: impl IntoIterator<Item = (u32, i64)>,
) -> Result<()> {
    let offsets = list(topic, offsets.into_iter().map(|(p, offset)| (p, Offset::Offset(offset))))?;
    let deleted = session.administer(|admin, options| admin.delete_records(&offsets, options))?;
    for element in deleted.elements() {
        element.error().map_err(|e| of_topic(error::native(&e), topic))?;
    }
    Ok(())
}
