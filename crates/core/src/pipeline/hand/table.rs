use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;
use tokio::time::Instant;

use super::{Counts, Job, Offered};
use crate::broker::Token;
use crate::dedup::Held;
use crate::model::{Delivery, MessageId, Origin, Position};
use crate::service::{Attempt, Scope};

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Slab<Entry>,
    pub(super) ready: VecDeque<usize>,
    pub(super) lanes: HashMap<Bytes, VecDeque<usize>>,
    pub(super) timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    /// Held back by the breaker, oldest first.
    pub(super) barred: VecDeque<usize>,
    /// Attempts to be used again: never more than there were messages in hand at once.
    pub(super) spare: Vec<Arc<Attempt>>,
    pub(super) parkings: u64,
    pub(super) closing: bool,
    /// The latest connection epoch that was seen.
    pub(super) epoch: u32,
    /// How many entries are `lost`.
    pub(super) lost: usize,
    pub(super) counts: Counts,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) token: Token,
    pub(super) identity: Identity,
    pub(super) since: Instant,
    pub(super) lane: Option<Bytes>,
    pub(super) phase: Phase,
    /// Here while no worker has it.
    pub(super) job: Option<Job>,
    /// The broker took the delivery away.
    pub(super) lost: bool,
    /// The broker is taking the delivery away, and waits for its settlement.
    pub(super) revoked: bool,
    /// Acked before handling.
    pub(super) acked: bool,
    pub(super) stuck: bool,
    pub(super) held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// In `ready`, behind its lane's head, or `barred`.
    Waiting,
    /// In `timers`, under this number.
    Parked(u64),
    Running,
    Settling,
}

impl Phase {
    pub(super) fn is_started(self) -> bool {
        matches!(self, Self::Running | Self::Settling)
    }
}

/// What tells a redelivery from another message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) origin: Origin,
    pub(super) position: Option<Position>,
    pub(super) id: Option<MessageId>,
}

impl Identity {
    fn of(delivery: &Delivery) -> Self {
        Self {
            origin: delivery.origin,
            position: delivery.position,
            id: delivery.message.id().cloned(),
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        self.origin == other.origin
            && match (self.position, other.position) {
                (Some(a), Some(b)) => a == b,
                _ => self.id.is_some() && self.id == other.id,
            }
    }
}

impl Table {
    pub(super) fn take_in(
        &mut self,
        delivery: Delivery,
        now: Instant,
        ordered: bool,
        scope: &Arc<Scope>,
    ) -> Offered {
        if self.closing {
            return Offered::Refused;
        }
        let identity = Identity::of(&delivery);
        if (delivery.redelivered || delivery.delivery_count.is_some_and(|n| n > 1))
            && self.lost > 0
            && self.take_over(&identity, delivery.token)
        {
            return Offered::TakenOver;
        }
        let lane = if ordered { delivery.message.key().cloned() } else { None };
        let token = delivery.token;
        let attempt = match self.spare.pop() {
            Some(mut spare) => {
                Arc::make_mut(&mut spare).reuse(delivery);
                spare
            }
            None => Arc::new(Attempt::new(scope, delivery)),
        };
        let place = self.entries.vacant_entry();
        let key = place.key();
        place.insert(Entry {
            token,
            identity,
            since: now,
            lane: lane.clone(),
            phase: Phase::Waiting,
            job: Some(Job { key, attempt, held: None, waits: 0 }),
            lost: false,
            revoked: false,
            acked: false,
            stuck: false,
            held: None,
        });
        self.counts.waiting += 1;
        match lane {
            None => self.ready.push_back(key),
            Some(lane) => {
                let queue = self.lanes.entry(lane).or_default();
                queue.push_back(key);
                if queue.len() == 1 {
                    self.ready.push_back(key);
                }
            }
        }
        Offered::Taken
    }

    fn take_over(&mut self, identity: &Identity, token: Token) -> bool {
        let mut entries = self.entries.iter_mut().map(|(_, e)| e);
        let Some(entry) = entries.find(|e| e.lost && e.identity.same_as(identity)) else {
            return false;
        };
        entry.token = token;
        entry.lost = false;
        entry.revoked = false;
        self.lost -= 1;
        true
    }

    /// The broker took these away: forgets what has not been started, marks what has been.
    pub(super) fn lose(&mut self, concerned: impl Fn(&Entry) -> bool) -> Vec<Held> {
        for (_, entry) in &mut self.entries {
            if entry.phase.is_started() && !entry.lost && !entry.acked && concerned(entry) {
                entry.lost = true;
                self.lost += 1;
            }
        }
        self.drop_waiting(concerned).into_iter().filter_map(|(_, held)| held).collect()
    }

    pub(super) fn drop_waiting(
        &mut self,
        concerned: impl Fn(&Entry) -> bool,
    ) -> Vec<(Token, Option<Held>)> {
        let waiting = self.entries.iter().filter(|(_, e)| !e.phase.is_started() && concerned(e));
        let keys: Vec<usize> = waiting.map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Keeps an attempt whose message is done for the next message, unless somebody still holds it.
    pub(super) fn recycle(&mut self, mut spent: Arc<Attempt>) {
        if let Some(attempt) = Arc::get_mut(&mut spent) {
            attempt.clear();
            self.spare.push(spent);
        }
    }

    pub(super) fn start_next(&mut self) -> Option<Job> {
        while let Some(key) = self.ready.pop_front() {
            let Some(entry) = self.entries.get_mut(key) else { continue };
            if let Some(job) = entry.job.take() {
                entry.phase = Phase::Running;
                self.counts.waiting -= 1;
                self.counts.running += 1;
                return Some(job);
            }
        }
        None
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<(Token, Option<Held>)> {
        let entry = self.entries.try_remove(key)?;
        let count = match entry.phase {
            Phase::Waiting | Phase::Parked(_) => &mut self.counts.waiting,
            Phase::Running => &mut self.counts.running,
            Phase::Settling => &mut self.counts.settling,
        };
        *count -= 1;
        // The slab reuses keys: nothing may remember this one.
        self.lost -= usize::from(entry.lost);
        if entry.phase == Phase::Waiting {
            self.ready.retain(|k| *k != key);
            self.barred.retain(|k| *k != key);
        }
        if let Some(lane) = entry.lane
            && let Some(queue) = self.lanes.get_mut(&lane)
        {
            let was_head = queue.front() == Some(&key);
            queue.retain(|k| *k != key);
            match queue.front() {
                None => {
                    self.lanes.remove(&lane);
                }
                Some(next) if was_head => self.ready.push_back(*next),
                Some(_) => {}
            }
        }
        (!entry.lost && !entry.acked).then_some((entry.token, entry.held))
    }
}
