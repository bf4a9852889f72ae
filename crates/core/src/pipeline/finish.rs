//! After the attempt: outputs, copies and dead letters are confirmed, claims are ended, and only then
//! is the delivery settled.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use super::dead_letter::DeadLetterReason;
use super::hand::Job;
use super::shared::Shared;
use super::stages::{Skip, id_of};
use super::tally::add;
use super::{SEND_TIMEOUT, SETTLE_TIMEOUT};
use crate::broker::{Outcome, Send, Settlement, Unit};
use crate::config::{StoreFailure, WhenFull};
use crate::dedup::{HandOver, Held};
use crate::publish::Pump;
use crate::service::{DeadLettered, Retried};
use crate::{Error, ErrorKind, Result};

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
    Retried(Retried),
    DeadLettered(DeadLettered),
    Released,
}

/// What to fall back on when a send is refused for good.
#[derive(Debug)]
pub(super) enum Work {
    /// The sends are outputs: the message is dead-lettered instead.
    Outputs(Job),
    /// The send is a copy or a dead letter: it is tried again.
    Hop,
}

/// An attempt that has been decided.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: usize,
    pub(super) settlement: Settlement,
    pub(super) sends: Vec<Outgoing>,
    pub(super) end: ClaimEnd,
    pub(super) notice: Notice,
    pub(super) work: Option<Box<Work>>,
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

/// The most batches of effects in flight at once.
const MAX_EFFECT_BATCHES: usize = 16;
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
        self.hand.settling(finished.key);
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

    /// Carries out sends and ends claims, batch by batch, several batches at a time.
    pub(super) async fn run_effects(self: Arc<Self>) {
        let mut batches = FuturesUnordered::new();
        loop {
            if batches.len() < MAX_EFFECT_BATCHES {
                let batch = take(&self.finishing.effects);
                if !batch.is_empty() {
                    batches.push(self.carry_out(batch, RESEND_BACKOFF.0));
                    continue;
                }
            }
            tokio::select! {
                () = self.finishing.effects_wake.notified(), if batches.len() < MAX_EFFECT_BATCHES => {}
                Some(()) = batches.next(), if !batches.is_empty() => {}
            }
        }
    }

    /// Until every send of the batch is confirmed: what is not, is tried again while the originals
    /// stay unsettled.
    async fn carry_out(&self, mut batch: Vec<Finished>, mut backoff: Duration) {
        loop {
            batch = self.try_once(batch).await;
            // What the broker took away comes again by itself.
            let (lost, left): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .partition(|f| self.hand.is_lost(f.key) && !self.hand.is_acked(f.key));
            self.settle_later(lost.into_iter().map(into_release));
            batch = left;
            if batch.is_empty() {
                return;
            }
            self.metrics.send_failures.increment(batch.len() as u64);
            self.clock.sleep_until(self.clock.instant() + backoff).await;
            backoff = (backoff * 2).min(RESEND_BACKOFF.1);
        }
    }

    /// One try; returns what has to be tried again.
    async fn try_once(&self, batch: Vec<Finished>) -> Vec<Finished> {
        let (batch, mut again) = self.renew(batch).await;
        let (atomic, plain): (Vec<_>, Vec<_>) = batch.into_iter().partition(|f| {
            self.atomic
                && matches!(f.end, ClaimEnd::None)
                && f.settlement == Settlement::Ack
                && f.sends.iter().all(|s| Arc::ptr_eq(&s.pump, &self.hops.pump))
                && !self.hand.is_acked(f.key)
        });
        again.extend(self.commit_units(atomic).await);
        let (confirmed, unconfirmed) = self.publish(plain).await;
        again.extend(unconfirmed);
        let (ended, unended) = self.end_claims(confirmed).await;
        again.extend(unended);
        self.settle_later(ended);
        again
    }

    /// Makes sure, before anything is sent, that the claims still hold. A message whose claim is
    /// lost goes back to the broker: whoever has the claim now handles it.
    async fn renew(&self, batch: Vec<Finished>) -> (Vec<Finished>, Vec<Finished>) {
        let (Some(dedup), Some(config)) = (&self.dedup, &self.config.dedup) else {
            return (batch, Vec::new());
        };
        let held: Vec<Held> = batch.iter().filter_map(|f| f.end.held().cloned()).collect();
        if held.is_empty() {
            return (batch, Vec::new());
        }
        match dedup.store.renew(&held, config.lease).await {
            Ok(renewed) => {
                let mut renewed = renewed.into_iter();
                let (kept, lost): (Vec<_>, Vec<_>) = batch
                    .into_iter()
                    .partition(|f| f.end.held().is_none() || renewed.next().unwrap_or(false));
                if !lost.is_empty() {
                    tracing::warn!(
                        consumer = %self.config.name,
                        count = lost.len(),
                        "claims ran out before their handlers were done; raise dedup.lease"
                    );
                }
                self.settle_later(lost.into_iter().map(into_release));
                (kept, Vec::new())
            }
            Err(error) => match self.store_failed("renew", &error) {
                StoreFailure::Pause => (Vec::new(), batch),
                StoreFailure::Pass => (batch, Vec::new()),
            },
        }
    }

    fn store_failed(&self, operation: &str, error: &Error) -> StoreFailure {
        tracing::error!(consumer = %self.config.name, operation, %error, "the deduplication store failed");
        self.metrics.dedup_failures.increment(1);
        self.config.dedup.as_ref().map_or(StoreFailure::Pass, |d| d.on_store_failure)
    }

    /// Sends and acks as one, where the broker can.
    async fn commit_units(&self, batch: Vec<Finished>) -> Vec<Finished> {
        let mut units = Vec::with_capacity(batch.len());
        let mut committing = Vec::with_capacity(batch.len());
        for finished in batch {
            // A lost one is noticed by whoever carries the batch.
            let Some(token) = self.hand.live_token(finished.key) else {
                self.settle_later([into_release(finished)]);
                continue;
            };
            let sends = finished.sends.iter().map(|s| s.send.clone()).collect();
            units.push(Unit { token, sends });
            committing.push(finished);
        }
        if units.is_empty() {
            return Vec::new();
        }
        let deadline = self.clock.instant() + SEND_TIMEOUT;
        let results = self.consumer.commit(units, deadline).await;
        let mut again = Vec::new();
        let mut done = Vec::new();
        for (finished, result) in committing.into_iter().zip(results) {
            match result {
                Ok(()) => done.push(finished),
                Err(error) if error.kind() == ErrorKind::StaleToken => {
                    self.stale(&error);
                    self.hand.remove([finished.key]);
                }
                Err(error) => again.extend(self.refused(finished, &error)),
            }
        }
        self.settled(done);
        again
    }

    /// Publishes all sends of a batch; returns what is confirmed as a whole, and what is not.
    async fn publish(&self, batch: Vec<Finished>) -> (Vec<Finished>, Vec<Finished>) {
        let mut pumps: Vec<(Arc<Pump>, Vec<Send>, Vec<usize>)> = Vec::new();
        for (index, finished) in batch.iter().enumerate() {
            for outgoing in &finished.sends {
                let place = pumps.iter().position(|(p, ..)| Arc::ptr_eq(p, &outgoing.pump));
                let place = place.unwrap_or_else(|| {
                    pumps.push((Arc::clone(&outgoing.pump), Vec::new(), Vec::new()));
                    pumps.len() - 1
                });
                pumps[place].1.push(outgoing.send.clone());
                pumps[place].2.push(index);
            }
        }
        let deadline = self.clock.instant() + SEND_TIMEOUT;
        let mut failures: Vec<Option<Error>> = batch.iter().map(|_| None).collect();
        for (pump, sends, owners) in pumps {
            let outcomes = pump.publish_all(sends, deadline, WhenFull::Fail).await;
            for (owner, outcome) in owners.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Confirmed(_) => {}
                    Outcome::Unconfirmed(error) => {
                        failures[owner].get_or_insert(error.retryable(true));
                    }
                    Outcome::Rejected(error) => {
                        let first = failures[owner].take().filter(|e| !e.is_retryable());
                        failures[owner] = Some(first.unwrap_or(error));
                    }
                }
            }
        }
        let (mut confirmed, mut again) = (Vec::new(), Vec::new());
        for (finished, failure) in batch.into_iter().zip(failures) {
            match failure {
                None => confirmed.push(finished),
                Some(error) => again.extend(self.refused(finished, &error)),
            }
        }
        (confirmed, again)
    }

    /// A send of this one was not confirmed: what is to be tried next.
    fn refused(&self, finished: Finished, error: &Error) -> Option<Finished> {
        if let Some(Work::Outputs(_)) = finished.work.as_deref().filter(|_| !error.is_retryable()) {
            let Some(Work::Outputs(job)) = finished.work.map(|w| *w) else { return None };
            let id = id_of(&job.delivery, job_channel(self), self.clock.now());
            let job = Job { held: finished.end.held().cloned(), ..job };
            let text = error.to_string();
            return Some(self.dead_lettered(job, &id, DeadLetterReason::OutputRejected, text));
        }
        tracing::error!(
            consumer = %self.config.name,
            %error,
            destination = %finished.sends.first().map_or_else(String::new, |s| s.send.destination.to_string()),
            "not confirmed: the original stays unsettled, and it is tried again"
        );
        Some(finished)
    }

    /// Commits and hands over what is confirmed.
    async fn end_claims(&self, batch: Vec<Finished>) -> (Vec<Finished>, Vec<Finished>) {
        let (Some(dedup), Some(config)) = (&self.dedup, &self.config.dedup) else {
            return (batch, Vec::new());
        };
        let (mut commits, mut hand_overs, mut releases) = (Vec::new(), Vec::new(), Vec::new());
        for finished in &batch {
            match &finished.end {
                ClaimEnd::None => {}
                ClaimEnd::Commit(held) => commits.push(held.clone()),
                ClaimEnd::HandOver(hand_over) => hand_overs.push(hand_over.clone()),
                ClaimEnd::Release(held) => releases.push(held.clone()),
            }
        }
        self.release_claims(releases).await;
        let mut result: Result<()> = Ok(());
        if !commits.is_empty() {
            result = dedup.store.commit(&commits, config.window).await.map(drop);
        }
        if result.is_ok() && !hand_overs.is_empty() {
            result = dedup.store.hand_over(&hand_overs).await.map(drop);
        }
        match result {
            Ok(()) => (batch, Vec::new()),
            Err(error) => match self.store_failed("commit", &error) {
                StoreFailure::Pause => {
                    // Confirmed is confirmed: only the store is asked again.
                    let unsent = |f| Finished { sends: Vec::new(), ..f };
                    let (waiting, done): (Vec<_>, Vec<_>) =
                        batch.into_iter().partition(|f| f.end.held().is_some());
                    (done, waiting.into_iter().map(unsent).collect())
                }
                StoreFailure::Pass => (batch, Vec::new()),
            },
        }
    }

    /// Settles, one batch after the other: what arrives meanwhile goes with the next.
    pub(super) async fn run_settlements(self: Arc<Self>) {
        loop {
            let batch = take(&self.finishing.settlements);
            if batch.is_empty() {
                self.finishing.settlements_wake.notified().await;
                continue;
            }
            self.settle(batch).await;
        }
    }

    async fn settle(&self, batch: Vec<Finished>) {
        let mut settlements = Vec::with_capacity(batch.len());
        let mut settling = Vec::with_capacity(batch.len());
        let mut done = Vec::new();
        for finished in batch {
            match self.hand.live_token(finished.key) {
                Some(token) => {
                    settlements.push((token, finished.settlement));
                    settling.push(finished);
                }
                None if self.hand.is_acked(finished.key) => done.push(finished),
                None => {
                    self.lost_too_late(&finished);
                    self.hand.remove([finished.key]);
                }
            }
        }
        if !settlements.is_empty() {
            let deadline = self.clock.instant() + SETTLE_TIMEOUT;
            let results = self.consumer.settle(&settlements, deadline).await;
            let mut unknown = Vec::new();
            for ((finished, result), (token, _)) in
                settling.into_iter().zip(results).zip(settlements)
            {
                match result {
                    Ok(()) => done.push(finished),
                    // The same message came back meanwhile, under a new token.
                    Err(_) if self.hand.live_token(finished.key).is_some_and(|t| t != token) => {
                        unknown.push(finished);
                    }
                    Err(error) if error.is_retryable() => unknown.push(finished),
                    Err(error) => {
                        self.stale(&error);
                        self.lost_too_late(&finished);
                        self.hand.remove([finished.key]);
                    }
                }
            }
            if !unknown.is_empty() {
                self.settle_later(unknown);
                self.clock.sleep_until(self.clock.instant() + RESEND_BACKOFF.0).await;
            }
        }
        self.settled(done);
    }

    fn stale(&self, error: &Error) {
        self.metrics.stale.increment(1);
        add(&self.counters.stale, 1);
        tracing::warn!(consumer = %self.config.name, %error, "settled too late: the message comes again, a possible duplicate");
    }

    /// The broker took the delivery away while it was worked on, or a release was all that was left.
    fn lost_too_late(&self, finished: &Finished) {
        tracing::debug!(consumer = %self.config.name, key = finished.key, "the delivery is no longer ours");
    }

    fn settled(&self, done: Vec<Finished>) {
        if done.is_empty() {
            return;
        }
        self.hand.remove(done.iter().map(|f| f.key));
        let (mut handled, mut outputs) = (0, 0);
        for finished in done {
            match finished.notice {
                Notice::Handled { outputs: n } => {
                    handled += 1;
                    outputs += n;
                }
                notice => self.tell(notice),
            }
        }
        self.metrics.handled.increment(handled);
        add(&self.counters.handled, handled);
        add(&self.counters.outputs, outputs);
    }

    fn tell(&self, notice: Notice) {
        let counters = &self.counters;
        let (counter, outcome) = match &notice {
            Notice::Handled { .. } => return,
            Notice::Skipped(Skip::Duplicate) => (&counters.duplicates, "duplicate"),
            Notice::Skipped(Skip::Superseded) => (&counters.superseded, "superseded"),
            Notice::Skipped(Skip::Expired) => (&counters.expired, "expired"),
            Notice::Skipped(Skip::Ignored) => (&counters.ignored, "ignored"),
            Notice::Rescheduled => (&counters.rescheduled, "rescheduled"),
            Notice::Retried(_) => (&counters.retried, "retried"),
            Notice::Released => (&counters.released, "released"),
            Notice::DeadLettered(dead) => {
                counters.dead_letter(dead.reason);
                self.metrics.dead_letter(dead.reason.as_str());
                self.metrics.settled("dead-lettered");
                tracing::warn!(
                    consumer = %dead.consumer,
                    messaging.message.id = %dead.id,
                    reason = %dead.reason,
                    attempts = dead.attempts,
                    error = %dead.error,
                    "dead-lettered"
                );
                return self.hooks.dead_lettered(dead);
            }
        };
        add(counter, 1);
        self.metrics.settled(outcome);
        if let Notice::Retried(retried) = &notice {
            self.hooks.retried(retried);
        }
    }

    /// A retry within the process, which settles nothing.
    pub(super) fn tell_retried(&self, retried: Retried) {
        self.tell(Notice::Retried(retried));
    }
}

fn job_channel(shared: &Shared) -> &str {
    shared.config.channel.as_str()
}

/// Gives the message back without effects.
fn into_release(finished: Finished) -> Finished {
    Finished {
        settlement: Settlement::Release,
        sends: Vec::new(),
        end: ClaimEnd::None,
        notice: Notice::Released,
        work: None,
        key: finished.key,
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
