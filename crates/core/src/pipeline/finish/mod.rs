//! After the attempt: outputs, copies and dead letters are confirmed, claims are ended, and only then
//! is the delivery settled.

mod effects;
mod settle;

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
}

/// The pauses between tries of sends that were not confirmed.
const RESEND_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

fn take<T>(queue: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut queue.lock().unwrap_or_else(PoisonError::into_inner))
}

fn push<T>(queue: &Mutex<Vec<T>>, wake: &Notify, items: impl IntoIterator<Item = T>) {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let was_empty = queue.is_empty();
    queue.extend(items);
    let now_empty = queue.is_empty();
    drop(queue);
    if was_empty && !now_empty {
        wake.notify_one();
    }
}

impl Shared {
    /// The worker's last word on a job.
    pub(super) fn finish(&self, finished: Finished) {
        self.hand.settling(finished.job.key);
        let (queue, wake) = if finished.is_plain() {
            (&self.finishing.settlements, &self.finishing.settlements_wake)
        } else {
            (&self.finishing.effects, &self.finishing.effects_wake)
        };
        push(queue, wake, [finished]);
    }

    fn settle_later(&self, finished: impl IntoIterator<Item = Finished>) {
        push(&self.finishing.settlements, &self.finishing.settlements_wake, finished);
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
