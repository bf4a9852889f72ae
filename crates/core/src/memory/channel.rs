use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::budget::Budget;
use super::group::Group;
use super::in_flight::Entry;
use super::inbox::Due;
use super::log::{Log, Record};
use crate::Error;
use crate::broker::{ChannelKind, ChannelSpec, GroupSpec, Token};
use crate::model::{ChannelName, GroupName, Message, Origin, Timestamp};

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
    pub(super) history: Option<Duration>,
    /// How many messages of the log every group has handled.
    pub(super) handled: usize,
    /// What was published before this place has outlived `history`.
    pub(super) expired_to: u64,
    pub(super) budget: Arc<Budget>,
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
        let extra = Stored { published: now, unhandled };
        self.log.push(Record { message, cost, extra })
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
}
