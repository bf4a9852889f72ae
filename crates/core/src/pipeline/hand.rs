//! Everything that a consumer has in hand: received and not yet settled.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Token;
use crate::dedup::Held;
use crate::model::{Delivery, MessageId, Origin, Position, Timestamp};

/// A message that waits for a worker, or is with one.
#[derive(Debug)]
pub(super) struct Job {
    /// Its place in the hand.
    pub(super) key: usize,
    pub(super) delivery: Delivery,
    /// The attempt that comes next.
    pub(super) number: u32,
    pub(super) first_failure: Option<Timestamp>,
    /// The deduplication claim that an earlier attempt in this process left.
    pub(super) held: Option<Held>,
}

/// How many messages are in hand, by what they wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) waiting: usize,
    pub(super) running: usize,
    pub(super) settling: usize,
}

/// The in-hand table: hands jobs to workers, keeps the order of each key, parks what waits.
///
/// On an ordered channel every key is a lane, a queue of its own; only the head of a lane is
/// worked on, and it stays the head until it is settled. Lanes are exact, never hash buckets: a
/// held key holds nobody else.
#[derive(Debug)]
pub(super) struct Hand {
    inner: Mutex<Inner>,
    /// Wakes a worker.
    work: Notify,
    /// A timer was set that is earlier than all others.
    pub(super) timer_set: Notify,
    /// Something left the hand.
    pub(super) left: Notify,
    ordered: bool,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Slab<Entry>,
    ready: VecDeque<usize>,
    lanes: HashMap<Bytes, VecDeque<usize>>,
    timers: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    /// Held back by the breaker, oldest first.
    barred: VecDeque<usize>,
    parkings: u64,
    closing: bool,
    /// The latest connection epoch that was seen.
    epoch: u32,
    /// How many entries are `lost`.
    lost: usize,
    counts: Counts,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    identity: Identity,
    since: Instant,
    lane: Option<Bytes>,
    phase: Phase,
    /// Here while no worker has it.
    job: Option<Job>,
    /// The broker took the delivery away.
    lost: bool,
    /// Acked before handling.
    acked: bool,
    stuck: bool,
    held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// In `ready`, behind its lane's head, or `barred`.
    Waiting,
    /// In `timers`, under this number.
    Parked(u64),
    Running,
    Settling,
}

impl Phase {
    fn is_started(self) -> bool {
        matches!(self, Self::Running | Self::Settling)
    }
}

/// What tells a redelivery from another message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    origin: Origin,
    position: Option<Position>,
    id: Option<MessageId>,
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

/// What became of a delivery that was offered to the hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    Taken,
    /// An earlier hand-out of the same message is still being worked on, and was lost to the
    /// broker: it goes on under the new token.
    TakenOver,
    /// The hand is closing: give it back.
    Refused,
}

impl Hand {
    pub(super) fn new(ordered: bool) -> Self {
        Self {
            inner: Mutex::default(),
            work: Notify::new(),
            timer_set: Notify::new(),
            left: Notify::new(),
            ordered,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes deliveries in and says what became of each. Returns the claims of deliveries that were
    /// forgotten because they came before a reconnect.
    pub(super) fn take_in(
        &self,
        deliveries: Vec<Delivery>,
        now: Instant,
        mut offered: impl FnMut(Offered, Token),
    ) -> Vec<Held> {
        let mut inner = self.inner();
        let mut orphaned = Vec::new();
        for delivery in deliveries {
            let token = delivery.token;
            if token.epoch > inner.epoch {
                inner.epoch = token.epoch;
                orphaned.extend(inner.lose(|entry| entry.token.epoch < token.epoch));
            }
            offered(inner.take_in(delivery, now, self.ordered), token);
        }
        let any = !inner.ready.is_empty();
        drop(inner);
        if any {
            self.work.notify_one();
        }
        orphaned
    }

    /// The next job for a worker; `None` when the hand is closing. Cancel-safe.
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            {
                let mut inner = self.inner();
                if inner.closing {
                    drop(inner);
                    self.work.notify_one();
                    return None;
                }
                if let Some(job) = inner.start_next() {
                    let more = !inner.ready.is_empty();
                    drop(inner);
                    if more {
                        // One worker wakes the next: a burst wakes as many as it needs.
                        self.work.notify_one();
                    }
                    return Some(job);
                }
            }
            self.work.notified().await;
        }
    }

    /// Another attempt at once, before anything else.
    ///
    /// Like [`bar`](Hand::bar) and [`park`](Hand::park), it gives the job back when there is no point
    /// in waiting: the hand is closing, or the broker took the delivery away.
    pub(super) fn again(&self, job: Job) -> Result<(), Job> {
        self.put_back(job, Phase::Waiting, |inner, key| inner.ready.push_front(key))?;
        self.work.notify_one();
        Ok(())
    }

    /// Holds a job back until the breaker lets it go.
    pub(super) fn bar(&self, job: Job) -> Result<(), Job> {
        self.put_back(job, Phase::Waiting, |inner, key| inner.barred.push_back(key))
    }

    /// Lets `count` of the jobs go that the breaker held back; says how many went.
    pub(super) fn unbar(&self, count: usize) -> usize {
        let mut inner = self.inner();
        let count = count.min(inner.barred.len());
        let freed: Vec<usize> = inner.barred.drain(..count).collect();
        for key in freed.into_iter().rev() {
            inner.ready.push_front(key);
        }
        drop(inner);
        if count > 0 {
            self.work.notify_one();
        }
        count
    }

    /// Puts a job aside until `until`, holding its key and nothing else.
    pub(super) fn park(&self, job: Job, until: Instant) -> Result<(), Job> {
        let number = {
            let mut inner = self.inner();
            inner.parkings += 1;
            inner.parkings
        };
        let mut first = false;
        self.put_back(job, Phase::Parked(number), |inner, key| {
            first = inner.timers.peek().is_none_or(|Reverse((at, ..))| until < *at);
            inner.timers.push(Reverse((until, key, number)));
        })?;
        if first {
            self.timer_set.notify_one();
        }
        Ok(())
    }

    /// When the next parked job is due.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.inner().timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Gives the parked jobs that are due back to the workers.
    pub(super) fn wake_due(&self, now: Instant) {
        let mut inner = self.inner();
        while inner.timers.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, key, number))) = inner.timers.pop() else { break };
            let Some(entry) = inner.entries.get_mut(key) else { continue };
            if entry.phase == Phase::Parked(number) {
                entry.phase = Phase::Waiting;
                inner.ready.push_front(key);
            }
        }
        let any = !inner.ready.is_empty();
        drop(inner);
        if any {
            self.work.notify_one();
        }
    }

    fn put_back(
        &self,
        job: Job,
        phase: Phase,
        queue: impl FnOnce(&mut Inner, usize),
    ) -> Result<(), Job> {
        let mut inner = self.inner();
        let (key, closing) = (job.key, inner.closing);
        match inner.entries.get_mut(key) {
            Some(entry) if !entry.lost && !closing => {
                entry.held.clone_from(&job.held);
                entry.phase = phase;
                entry.job = Some(job);
                inner.counts.running -= 1;
                inner.counts.waiting += 1;
                queue(&mut inner, key);
                Ok(())
            }
            _ => Err(job),
        }
    }

    /// Records the claim under which a job runs, so that its lease is renewed.
    pub(super) fn set_held(&self, key: usize, held: Option<Held>) {
        if let Some(entry) = self.inner().entries.get_mut(key) {
            entry.held = held;
        }
    }

    /// The delivery was acked before it is handled: nothing is left to settle or to extend.
    pub(super) fn set_acked(&self, key: usize) {
        if let Some(entry) = self.inner().entries.get_mut(key) {
            entry.acked = true;
        }
    }

    /// The worker is done with a job: its settlement follows.
    pub(super) fn settling(&self, key: usize) {
        let mut inner = self.inner();
        if let Some(entry) = inner.entries.get_mut(key) {
            entry.phase = Phase::Settling;
            inner.counts.running -= 1;
            inner.counts.settling += 1;
        }
    }

    /// The token under which a job is to be settled now; `None` when the broker took the delivery
    /// away, or when nothing is left to settle.
    pub(super) fn live_token(&self, key: usize) -> Option<Token> {
        self.inner().entries.get(key).filter(|e| !e.lost && !e.acked).map(|e| e.token)
    }

    /// Whether a job was acked before it was handled.
    pub(super) fn is_acked(&self, key: usize) -> bool {
        self.inner().entries.get(key).is_some_and(|e| e.acked)
    }

    /// Whether the broker took a job's delivery away.
    pub(super) fn is_lost(&self, key: usize) -> bool {
        self.inner().entries.get(key).is_none_or(|e| e.lost)
    }

    /// Settled, or given up: the lane goes on.
    pub(super) fn remove(&self, keys: impl IntoIterator<Item = usize>) {
        let mut inner = self.inner();
        for key in keys {
            inner.remove(key);
        }
        self.after_removal(inner);
    }

    /// The broker took these away: what has not been started is forgotten, as it will come again;
    /// what is being worked on goes on, in case the same message comes back here. Returns the claims
    /// of what was forgotten.
    pub(super) fn lose(&self, tokens: &[Token]) -> Vec<Held> {
        let mut inner = self.inner();
        let orphaned = inner.lose(|entry| tokens.contains(&entry.token));
        self.after_removal(inner);
        orphaned
    }

    /// These are being taken away: what has not been started leaves the hand, to be released.
    pub(super) fn revoke(&self, tokens: &[Token]) -> Vec<(Token, Option<Held>)> {
        let mut inner = self.inner();
        let dropped = inner.drop_waiting(|entry| tokens.contains(&entry.token));
        self.after_removal(inner);
        dropped
    }

    /// Ends: workers get no more jobs, and what has not been started leaves the hand, to be
    /// released.
    pub(super) fn close(&self) -> Vec<(Token, Option<Held>)> {
        let mut inner = self.inner();
        inner.closing = true;
        let dropped = inner.drop_waiting(|_| true);
        self.work.notify_waiters();
        self.after_removal(inner);
        dropped
    }

    fn after_removal(&self, inner: MutexGuard<'_, Inner>) {
        let wake = inner.closing || !inner.ready.is_empty();
        drop(inner);
        if wake {
            self.work.notify_one();
        }
        self.left.notify_waiters();
    }

    /// Takes out everything that is left, whatever it is doing.
    pub(super) fn abandon(&self) -> Vec<Abandoned> {
        let mut inner = self.inner();
        let entries = std::mem::take(&mut inner.entries);
        *inner = Inner { closing: true, ..Inner::default() };
        entries
            .into_iter()
            .map(|(_, entry)| Abandoned {
                token: (!entry.lost && !entry.acked).then_some(entry.token),
                id: entry.identity.id,
                held: entry.held,
                running: entry.phase == Phase::Running,
            })
            .collect()
    }

    /// Everything whose lease is to be renewed, and, once each, what has been in hand for longer
    /// than `max_lease`.
    pub(super) fn leases(&self, now: Instant, max_lease: std::time::Duration) -> Leases {
        let mut leases = Leases::default();
        for (_, entry) in &mut self.inner().entries {
            if now.saturating_duration_since(entry.since) >= max_lease {
                if !std::mem::replace(&mut entry.stuck, true) {
                    leases.stuck.push(entry.identity.id.clone());
                }
                continue;
            }
            if !entry.lost && !entry.acked {
                leases.tokens.push(entry.token);
            }
            leases.held.extend(entry.held.clone());
        }
        leases
    }

    pub(super) fn counts(&self) -> Counts {
        self.inner().counts
    }

    /// How many messages have been in hand for too long.
    pub(super) fn stuck(&self) -> usize {
        self.inner().entries.iter().filter(|(_, e)| e.stuck).count()
    }
}

/// What is to be extended.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) tokens: Vec<Token>,
    pub(super) held: Vec<Held>,
    pub(super) stuck: Vec<Option<MessageId>>,
}

/// Something that was still in hand at the end.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) token: Option<Token>,
    pub(super) id: Option<MessageId>,
    pub(super) held: Option<Held>,
    /// It was with its handler.
    pub(super) running: bool,
}

impl Inner {
    fn take_in(&mut self, delivery: Delivery, now: Instant, ordered: bool) -> Offered {
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
        let number = delivery.attempt();
        let first_failure = match delivery.origin {
            Origin::Channel => None,
            Origin::RetryInbox => crate::model::hop::first_failure(delivery.message.headers()),
        };
        let place = self.entries.vacant_entry();
        let key = place.key();
        place.insert(Entry {
            token: delivery.token,
            identity,
            since: now,
            lane: lane.clone(),
            phase: Phase::Waiting,
            job: Some(Job { key, delivery, number, first_failure, held: None }),
            lost: false,
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
        self.lost -= 1;
        true
    }

    /// The broker took these away: forgets what has not been started, marks what has been.
    fn lose(&mut self, concerned: impl Fn(&Entry) -> bool) -> Vec<Held> {
        for (_, entry) in &mut self.entries {
            if entry.phase.is_started() && !entry.lost && !entry.acked && concerned(entry) {
                entry.lost = true;
                self.lost += 1;
            }
        }
        self.drop_waiting(concerned).into_iter().filter_map(|(_, held)| held).collect()
    }

    fn drop_waiting(&mut self, concerned: impl Fn(&Entry) -> bool) -> Vec<(Token, Option<Held>)> {
        let waiting = self.entries.iter().filter(|(_, e)| !e.phase.is_started() && concerned(e));
        let keys: Vec<usize> = waiting.map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    fn start_next(&mut self) -> Option<Job> {
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

    fn remove(&mut self, key: usize) -> Option<(Token, Option<Held>)> {
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
