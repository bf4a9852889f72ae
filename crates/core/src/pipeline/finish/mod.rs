//! After the attempt: outputs, copies and dead letters are confirmed, claims are ended, and only then
//! is the delivery settled.

mod effects;
mod settle;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::hand::Job;
use super::shared::Shared;
use super::stages::Skip;
use crate::broker::{Send, Settlement};
use crate::dedup::{HandOver, Held};
use crate::publish::Pump;
use crate::service::{DeadLettered, Retried};

/// A send, and the pump of its broker.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) pump: Arc<Pump>,
    pub(super) send: Send,
}

/// How a deduplication claim ends.
#[derive(Debug, Clone)]
pub(super) enum ClaimEnd {
    None,
    /// Handled, or given up for good.
    Commit(Held),
    /// A later attempt follows.
    HandOver(HandOver),
    /// Anybody may handle it.
    Release(Held),
}

/// What is counted and told once a message is settled.
#[derive(Debug)]
pub(super) enum Notice {
    Handled { outputs: u64 },
    Skipped(Skip),
    Rescheduled,
    Retried(Box<Retried>),
    DeadLettered(Box<DeadLettered>),
    Released,
}

/// An attempt that has been decided.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) job: Job,
    pub(super) settlement: Settlement,
    pub(super) sends: Vec<Outgoing>,
    pub(super) end: ClaimEnd,
    pub(super) notice: Notice,
}

impl Finished {
    /// Nothing has to happen before the settlement.
    fn is_plain(&self) -> bool {
        self.sends.is_empty() && matches!(self.end, ClaimEnd::None)
    }
}

/// Queues between the workers, the sends and the settlements; each is bounded by the prefetch.
#[derive(Debug, Default)]
pub(super) struct Finishing {
    effects: Mutex<Vec<Finished>>,
    settlements: Mutex<Vec<Finished>>,
    effects_wake: Notify,
    settlements_wake: Notify,
    /// A worker has put something into an empty queue and has not woken its task yet.
    effects_asleep: AtomicBool,
    settlements_asleep: AtomicBool,
}

impl Finishing {
    /// Wakes the tasks that workers left asleep; says whether there were any. Whoever is told so
    /// yields before anything that may never do so.
    pub(super) fn wake(&self) -> bool {
        let tasks = [
            (&self.effects_asleep, &self.effects_wake),
            (&self.settlements_asleep, &self.settlements_wake),
        ];
        let mut woken = false;
        for (asleep, wake) in tasks {
            if asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::AcqRel) {
                wake.notify_one();
                woken = true;
            }
        }
        woken
    }
}

/// The pauses between tries of sends that were not confirmed.
const RESEND_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Takes everything, and leaves as much room as there was.
fn take<T>(queue: &Mutex<Vec<T>>) -> Vec<T> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let room = queue.len();
    std::mem::replace(&mut queue, Vec::with_capacity(room))
}

/// Whether the queue was empty and is not any more.
fn push<T>(queue: &Mutex<Vec<T>>, items: impl IntoIterator<Item = T>) -> bool {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let was_empty = queue.is_empty();
    queue.extend(items);
    was_empty && !queue.is_empty()
}

impl Shared {
    /// The worker's last word on a job. [`Finishing::wake`] is to follow.
    pub(super) fn finish(&self, finished: Finished) {
        self.hand.settling(finished.job.key);
        let (queue, asleep) = if finished.is_plain() {
            (&self.finishing.settlements, &self.finishing.settlements_asleep)
        } else {
            (&self.finishing.effects, &self.finishing.effects_asleep)
        };
        if push(queue, [finished]) {
            asleep.store(true, Ordering::Release);
        }
    }

    fn settle_later(&self, finished: impl IntoIterator<Item = Finished>) {
        if push(&self.finishing.settlements, finished) {
            self.finishing.settlements_wake.notify_one();
        }
    }
}

/// Gives the message back without effects.
fn into_release(finished: Finished) -> Finished {
    Finished {
        settlement: Settlement::Release,
        sends: Vec::new(),
        end: ClaimEnd::None,
        notice: Notice::Released,
        job: finished.job,
    }
}

impl ClaimEnd {
    fn held(&self) -> Option<&Held> {
        match self {
            Self::None => None,
            Self::Commit(held) | Self::Release(held) => Some(held),
            Self::HandOver(hand_over) => Some(&hand_over.held),
        }
    }
}
