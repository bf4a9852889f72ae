use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::error;
use super::group::{Counted, Group};
use super::in_flight::Entry;
use super::inbox::Due;
use super::log::{Log, Record};
use crate::broker::{ChannelKind, ChannelSpec, GroupSpec, StartPosition, Token};
use crate::model::{ChannelName, GroupName, Message, Origin, Timestamp};
use crate::{Error, ErrorKind};

/// What a channel's log knows about a message.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) published: Timestamp,
    /// How many groups have yet to handle it. With none left it is history.
    pub(super) unhandled: usize,
}

/// A queue or topic with its groups.
#[derive(Debug)]
pub(super) struct Channel {
    /// Several channels are locked in the order of their ids.
    pub(super) id: usize,
    pub(super) name: ChannelName,
    pub(super) kind: ChannelKind,
    pub(super) ordered: bool,
    pub(super) partitions: u32,
    pub(super) max_bytes: Option<u64>,
    pub(super) state: Mutex<State>,
}

impl Channel {
    /// A channel with its groups; a queue always has its own.
    pub(super) fn new(id: usize, spec: &ChannelSpec, budget: Arc<Budget>) -> Result<Self, Error> {
        let mut state = State {
            log: Log::default(),
            bytes: 0,
            groups: Vec::new(),
            history: spec.retention.filter(|_| spec.kind == ChannelKind::Topic),
            handled: 0,
            expired_to: 0,
            budget,
        };
        for group in &spec.groups {
            state.add_group(group, spec.ordered)?;
        }
        if spec.kind == ChannelKind::Queue && spec.groups.is_empty() {
            let own = GroupSpec::new(GroupName::from(&spec.name));
            state.add_group(&own, spec.ordered)?;
        }
        Ok(Self {
            id,
            name: spec.name.clone(),
            kind: spec.kind,
            ordered: spec.ordered,
            partitions: spec.partitions,
            max_bytes: spec.max_bytes,
            state: Mutex::new(state),
        })
    }
}

/// What the channel's lock guards: one log, and every group's place in it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) log: Log<Stored>,
    /// The bytes of the log; retry inboxes are not part of it.
    pub(super) bytes: u64,
    pub(super) groups: Vec<Group>,
    /// How long a topic keeps what every group has handled.
    history: Option<Duration>,
    /// How many messages of the log every group has handled.
    handled: usize,
    /// What was published before this place has outlived `history`.
    expired_to: u64,
    budget: Arc<Budget>,
}

impl State {
    /// The place of a group.
    pub(super) fn group(&self, name: &GroupName) -> Option<usize> {
        self.groups.iter().position(|group| group.name == *name)
    }

    /// Makes a group that the channel doesn't have yet.
    pub(super) fn add_group(&mut self, spec: &GroupSpec, ordered: bool) -> Result<(), Error> {
        let start = self.resolve(spec.start)?;
        let backlog = self.claim(start);
        let group = Group::new(spec.name.clone(), ordered, start, backlog);
        self.groups.push(group);
        Ok(())
    }

    /// The sequence number that a position stands for.
    pub(super) fn resolve(&self, position: StartPosition) -> Result<u64, Error> {
        let oldest = self
            .log
            .from(0)
            .next()
            .map_or(self.log.next_seq(), |(seq, _)| seq);
        match position {
            StartPosition::Latest => Ok(self.log.next_seq()),
            StartPosition::Earliest => Ok(oldest),
            StartPosition::Timestamp(at) => {
                let first = self.log.from(0).find(|(_, r)| r.extra.published >= at);
                Ok(first.map_or(self.log.next_seq(), |(seq, _)| seq))
            }
            StartPosition::Position(p)
                if p.partition == 0 && (oldest..=self.log.next_seq()).contains(&p.offset) =>
            {
                Ok(p.offset)
            }
            StartPosition::Position(p) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no position {p}: the channel holds 0/{oldest} up to 0/{}",
                    self.log.next_seq()
                ),
            )
            .with_help("choose a position within that range, `earliest` or a timestamp")),
        }
    }

    /// Marks what lies at and after `from` as unhandled by one more group.
    pub(super) fn claim(&mut self, from: u64) -> u64 {
        let mut claimed = 0;
        for (_, record) in self.log.from_mut(from) {
            self.handled -= usize::from(record.extra.unhandled == 0);
            record.extra.unhandled += 1;
            claimed += 1;
        }
        claimed
    }

    /// Whether `cost` more bytes fit under `max`, if need be in place of history.
    pub(super) fn make_room(&mut self, cost: u64, max: u64) -> bool {
        if self.bytes.saturating_add(cost) > max {
            self.evict(self.bytes.saturating_add(cost) - max);
        }
        self.bytes.saturating_add(cost) <= max
    }

    /// Stores a message for every group. Its bytes were taken from the budget before; they are
    /// given back if nobody is there to keep it for.
    pub(super) fn store(&mut self, message: Message, cost: u64, now: Timestamp) -> u64 {
        if self.groups.is_empty() && self.history.is_none() {
            self.budget.give_back(cost);
            return self.log.skip();
        }
        self.bytes += cost;
        let unhandled = self.groups.len();
        self.handled += usize::from(unhandled == 0);
        for group in &mut self.groups {
            group.backlog += 1;
        }
        let extra = Stored {
            published: now,
            unhandled,
        };
        self.log.push(Record {
            message,
            cost,
            extra,
        })
    }

    /// Stores a message in a group's retry inbox.
    pub(super) fn store_retry(
        &mut self,
        group: usize,
        message: Message,
        cost: u64,
        due: Due,
    ) -> u64 {
        let group = &mut self.groups[group];
        let (seq, first) = group.inbox.push(message, cost, due);
        if first {
            // Whoever waits has set its timer by what was first before.
            group.wake.notify_waiters();
        }
        seq
    }

    /// Tells the groups that messages were stored.
    pub(super) fn announce(&self) {
        for group in &self.groups {
            group.announce();
        }
    }

    /// A group has handled a delivery.
    pub(super) fn ack(&mut self, group: usize, token: Token, now: Timestamp) -> Option<Entry> {
        let entry = self.groups[group].remove(token)?;
        match entry.origin {
            Origin::RetryInbox => {
                self.drop_retry(group, entry.seq);
            }
            Origin::Channel => {
                let freed = entry.lane.is_some_and(|l| self.groups[group].lanes.done(l));
                if freed {
                    self.groups[group].announce();
                }
                self.settle_record(entry.seq, now);
            }
        }
        Some(entry)
    }

    /// One group less has yet to handle a message.
    pub(super) fn settle_record(&mut self, seq: u64, now: Timestamp) {
        let Some(record) = self.log.get_mut(seq) else {
            return;
        };
        record.extra.unhandled -= 1;
        if record.extra.unhandled > 0 {
            return;
        }
        self.handled += 1;
        let published = record.extra.published;
        if self.history.is_none_or(|keep| published + keep <= now) {
            self.drop_handled(seq);
        }
    }

    fn drop_handled(&mut self, seq: u64) {
        if let Some(record) = self.log.remove(seq) {
            self.handled -= 1;
            self.bytes -= record.cost;
            self.budget.give_back(record.cost);
        }
    }

    /// Drops history that is older than the retention.
    pub(super) fn expire_history(&mut self, now: Timestamp) {
        let Some(keep) = self.history else {
            return;
        };
        let next = self.log.next_seq();
        let old = |(_, record): &(u64, &Record<Stored>)| record.extra.published + keep <= now;
        let expired: Vec<(u64, bool)> = (self.log.from(self.expired_to))
            .take_while(old)
            .map(|(seq, record)| (seq, record.extra.unhandled == 0))
            .collect();
        if let Some((last, _)) = expired.last() {
            self.expired_to = (last + 1).min(next);
        }
        for (seq, _) in expired.into_iter().filter(|(_, handled)| *handled) {
            self.drop_handled(seq);
        }
    }

    /// Drops history, oldest first, until `bytes` were freed; says how many were.
    pub(super) fn evict(&mut self, bytes: u64) -> u64 {
        if self.handled == 0 {
            return 0;
        }
        let mut freed = 0;
        let history = self.log.from(0).filter(|(_, r)| r.extra.unhandled == 0);
        let victims: Vec<u64> = history
            .take_while(|(_, record)| {
                let enough = freed >= bytes;
                freed += if enough { 0 } else { record.cost };
                !enough
            })
            .map(|(seq, _)| seq)
            .collect();
        for seq in victims {
            self.drop_handled(seq);
        }
        freed
    }

    /// Drops what waits for a group, and says how much that was.
    pub(super) fn purge(&mut self, group: usize, now: Timestamp) -> u64 {
        let waiting = self.waiting(group);
        let of = &mut self.groups[group];
        of.lanes.drain();
        of.cursor = self.log.next_seq();
        of.backlog = 0;
        of.forget_before(of.cursor);
        for seq in &waiting {
            self.settle_record(*seq, now);
        }
        waiting.len() as u64
    }

    /// Drops what waits in a group's retry inbox, and says how much that was.
    pub(super) fn purge_retries(&mut self, group: usize) -> u64 {
        let waiting = self.groups[group].inbox.waiting();
        let seqs: Vec<u64> = waiting.map(|(seq, _)| seq).collect();
        for seq in &seqs {
            self.drop_retry(group, *seq);
        }
        seqs.len() as u64
    }

    fn drop_retry(&mut self, group: usize, seq: u64) -> bool {
        let group = &mut self.groups[group];
        group.forget(Origin::RetryInbox, seq);
        let removed = group.inbox.log.remove(seq);
        self.budget
            .give_back(removed.as_ref().map_or(0, |record| record.cost));
        removed.is_some()
    }

    /// Deletes one message that waits in a group's retry inbox.
    pub(super) fn discard_retry(&mut self, group: usize, seq: u64) -> Result<(), Error> {
        if self.groups[group].holds(Origin::RetryInbox, seq) {
            return Err(error::in_hand(seq));
        }
        let dropped = self.drop_retry(group, seq);
        dropped.then_some(()).ok_or_else(|| error::gone(seq))
    }

    /// What of the channel waits for a group.
    fn waiting(&self, group: usize) -> Vec<u64> {
        let group = &self.groups[group];
        let ahead = self.log.from(group.cursor).map(|(seq, _)| seq);
        group.lanes.waiting().chain(ahead).collect()
    }

    /// Moves a group: what it has in hand of the channel is taken back first.
    pub(super) fn seek(&mut self, group: usize, to: u64, now: Timestamp) {
        let held = self.groups[group].in_flight.iter();
        let tokens: Vec<Token> = held
            .filter(|e| e.origin == Origin::Channel)
            .map(|e| e.token)
            .collect();
        let of = &mut self.groups[group];
        let lost: Vec<Entry> = tokens
            .into_iter()
            .filter_map(|token| of.give_back(token, Counted::No))
            .collect();
        of.report_lost(lost.iter());
        // Claimed first, so that nothing that is to come again is dropped as handled.
        let before = self.waiting(group);
        let backlog = self.claim(to);
        for seq in before {
            self.settle_record(seq, now);
        }
        let of = &mut self.groups[group];
        of.lanes.drain();
        of.forget_before(to);
        (of.cursor, of.backlog) = (to, backlog);
        of.announce();
    }

    /// Deletes one message that waits for a group.
    pub(super) fn discard(&mut self, group: usize, seq: u64, now: Timestamp) -> Result<(), Error> {
        let of = &mut self.groups[group];
        if of.holds(Origin::Channel, seq) {
            return Err(error::in_hand(seq));
        }
        let Some(record) = self.log.get(seq) else {
            return Err(error::gone(seq));
        };
        of.pass_to(&self.log, seq + 1);
        if !of.lanes.discard(record.message.key(), seq) {
            return Err(error::gone(seq));
        }
        of.backlog -= 1;
        of.forget(Origin::Channel, seq);
        self.settle_record(seq, now);
        Ok(())
    }

    /// When a waiting `recv` has to look again: the next due message, or the end of a lease. No
    /// lease that begins later ends before `now` plus a lease.
    pub(super) fn next_look(&mut self, group: usize, now: Instant, lease: Duration) -> Instant {
        let group = &mut self.groups[group];
        let lease_end = group.in_flight.next_deadline().unwrap_or(now + lease);
        group
            .inbox
            .next_due()
            .map_or(lease_end, |due| due.min(lease_end))
    }
}
