//! Everything that a consumer has in hand: received and not yet settled.

mod leases;
mod table;
mod waiting;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Token;
use crate::dedup::Held;
use crate::model::Delivery;
use crate::service::{Attempt, Scope};

pub(super) use leases::Abandoned;
use table::{Phase, Table};

/// A message that waits for a worker, or is with one.
#[derive(Debug)]
pub(super) struct Job {
    /// Its place in the hand.
    pub(super) key: usize,
    /// The message, and the attempt that comes next.
    pub(super) attempt: Arc<Attempt>,
    /// The deduplication claim that an earlier attempt in this process left.
    pub(super) held: Option<Held>,
    /// How often it has waited for somebody else's claim.
    pub(super) waits: u32,
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
    table: Mutex<Table>,
    /// Wakes a worker.
    work: Notify,
    /// How many workers wait.
    idle: AtomicUsize,
    /// A timer was set that is earlier than all others.
    pub(super) timer_set: Notify,
    /// Something left the hand.
    pub(super) left: Notify,
    ordered: bool,
    scope: Arc<Scope>,
}

/// How a job stands with the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// To be settled under this token.
    Live(Token),
    /// Acked before it was handled.
    Acked,
    /// The broker took the delivery away.
    Gone,
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
    pub(super) fn new(ordered: bool, scope: Arc<Scope>) -> Self {
        Self {
            table: Mutex::default(),
            work: Notify::new(),
            idle: AtomicUsize::new(0),
            timer_set: Notify::new(),
            left: Notify::new(),
            ordered,
            scope,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes deliveries in and says what became of each. Returns the claims of deliveries that were
    /// forgotten because they came before a reconnect.
    pub(super) fn take_in(
        &self,
        deliveries: Vec<Delivery>,
        now: Instant,
        mut offered: impl FnMut(Offered, Token),
    ) -> Vec<Held> {
        let mut table = self.lock();
        let mut orphaned = Vec::new();
        for delivery in deliveries {
            let token = delivery.token;
            if token.epoch > table.epoch {
                table.epoch = token.epoch;
                orphaned.extend(table.lose(|entry| entry.token.epoch < token.epoch));
            }
            offered(table.take_in(delivery, now, self.ordered, &self.scope), token);
        }
        let any = !table.ready.is_empty();
        drop(table);
        if any {
            self.work.notify_one();
        }
        orphaned
    }

    /// The next job for a worker; `None` when the hand is closing. Cancel-safe.
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            let _idle = {
                let mut table = self.lock();
                if table.closing {
                    drop(table);
                    self.work.notify_one();
                    return None;
                }
                if let Some(job) = table.start_next() {
                    return Some(job);
                }
                // Counted under the lock: whoever adds work from here on knows that somebody waits.
                Idle::new(&self.idle)
            };
            self.work.notified().await;
        }
    }

    /// Wakes another worker if there is work for it: one wakes the next, so that a burst wakes as
    /// many as it needs. Says whether it did; whoever is told so yields before anything that may
    /// never do so.
    pub(super) fn wake_another(&self) -> bool {
        if self.idle.load(Ordering::Acquire) == 0 || self.lock().ready.is_empty() {
            return false;
        }
        self.work.notify_one();
        true
    }

    /// Records the claim under which a job runs, so that its lease is renewed.
    pub(super) fn set_held(&self, key: usize, held: Option<Held>) {
        if let Some(entry) = self.lock().entries.get_mut(key) {
            entry.held = held;
        }
    }

    /// The delivery was acked before it is handled: nothing is left to settle or to extend.
    pub(super) fn set_acked(&self, key: usize) {
        if let Some(entry) = self.lock().entries.get_mut(key) {
            entry.acked = true;
        }
    }

    /// The worker is done with a job: its settlement follows.
    pub(super) fn settling(&self, key: usize) {
        let mut table = self.lock();
        if let Some(entry) = table.entries.get_mut(key) {
            entry.phase = Phase::Settling;
            table.counts.running -= 1;
            table.counts.settling += 1;
        }
    }

    /// How each of these stands with the broker.
    pub(super) fn standings(&self, keys: impl Iterator<Item = usize>) -> Vec<Standing> {
        let table = self.lock();
        keys.map(|key| match table.entries.get(key) {
            Some(entry) if entry.acked => Standing::Acked,
            Some(entry) if !entry.lost => Standing::Live(entry.token),
            _ => Standing::Gone,
        })
        .collect()
    }

    /// The token under which a job is to be settled now; `None` when the broker took the delivery
    /// away, or when nothing is left to settle.
    pub(super) fn live_token(&self, key: usize) -> Option<Token> {
        self.lock().entries.get(key).filter(|e| !e.lost && !e.acked).map(|e| e.token)
    }

    /// Whether a job was acked before it was handled.
    pub(super) fn is_acked(&self, key: usize) -> bool {
        self.lock().entries.get(key).is_some_and(|e| e.acked)
    }

    /// Whether the broker took a job's delivery away.
    pub(super) fn is_lost(&self, key: usize) -> bool {
        self.lock().entries.get(key).is_none_or(|e| e.lost)
    }

    /// Settled, or given up: the lane goes on.
    pub(super) fn remove(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut table = self.lock();
        for job in jobs {
            table.remove(job.key);
            table.recycle(job.attempt);
        }
        self.after_removal(table);
    }

    /// Forgets a job whose delivery the broker took away, or refuses to settle under `stale`. The job
    /// comes back when the same message did meanwhile, under a new token: it is to be settled then.
    pub(super) fn forget(&self, job: Job, stale: Option<Token>) -> Option<Job> {
        let mut table = self.lock();
        let taken_over = |e: &table::Entry| !e.lost && !e.acked && Some(e.token) != stale;
        if table.entries.get(job.key).is_some_and(taken_over) {
            return Some(job);
        }
        table.remove(job.key);
        table.recycle(job.attempt);
        self.after_removal(table);
        None
    }

    /// The broker took these away: what has not been started is forgotten, as it will come again;
    /// what is being worked on goes on, in case the same message comes back here. Returns the claims
    /// of what was forgotten.
    pub(super) fn lose(&self, tokens: &[Token]) -> Vec<Held> {
        let mut table = self.lock();
        let orphaned = table.lose(|entry| tokens.contains(&entry.token));
        self.after_removal(table);
        orphaned
    }

    /// These are being taken away: what has not been started leaves the hand, to be released; what has
    /// is finished, but waits for nothing any more.
    pub(super) fn revoke(&self, tokens: &[Token]) -> Vec<(Token, Option<Held>)> {
        let mut table = self.lock();
        for (_, entry) in &mut table.entries {
            entry.revoked |= tokens.contains(&entry.token);
        }
        let dropped = table.drop_waiting(|entry| tokens.contains(&entry.token));
        self.after_removal(table);
        dropped
    }

    /// Takes out what waits behind a job in its lane: a key's later deliveries are released with the
    /// earlier one, so that they come again in order.
    pub(super) fn drop_followers(&self, key: usize) -> Vec<(Token, Option<Held>)> {
        let mut table = self.lock();
        let Some(lane) = table.entries.get(key).and_then(|e| e.lane.clone()) else {
            return Vec::new();
        };
        let dropped = table.drop_waiting(|entry| entry.lane.as_ref() == Some(&lane));
        self.after_removal(table);
        dropped
    }

    /// Ends: workers get no more jobs, and what has not been started leaves the hand, to be
    /// released.
    pub(super) fn close(&self) -> Vec<(Token, Option<Held>)> {
        let mut table = self.lock();
        table.closing = true;
        let dropped = table.drop_waiting(|_| true);
        self.work.notify_waiters();
        self.after_removal(table);
        dropped
    }

    fn after_removal(&self, table: MutexGuard<'_, Table>) {
        let wake = table.closing || !table.ready.is_empty();
        drop(table);
        if wake {
            self.work.notify_one();
        }
        self.left.notify_waiters();
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// How many messages have been in hand for too long.
    pub(super) fn stuck(&self) -> usize {
        self.lock().entries.iter().filter(|(_, e)| e.stuck).count()
    }
}

/// A worker that waits, however its wait ends.
struct Idle<'a>(&'a AtomicUsize);

impl<'a> Idle<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
