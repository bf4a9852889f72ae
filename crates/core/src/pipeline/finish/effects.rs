use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::settle::complete;
use super::{ClaimEnd, Finished, Notice, RESEND_BACKOFF, into_release, take};
use crate::broker::{Outcome, Send, Settlement, Unit};
use crate::config::StoreFailure;
use crate::dedup::Held;
use crate::guard::answer;
use crate::pipeline::SEND_TIMEOUT;
use crate::pipeline::dead_letter::DeadLetterReason;
use crate::pipeline::shared::Shared;
use crate::publish::Pump;
use crate::{Error, ErrorKind, Result};

/// The most batches of effects at their first try at once. Those that are tried again don't count:
/// what cannot be finished must not hold up what can, and the prefetch bounds it.
const MAX_EFFECT_BATCHES: usize = 16;

impl Shared {
    /// Carries out sends and ends claims, batch by batch, several batches at a time.
    pub(in crate::pipeline) async fn run_effects(self: Arc<Self>) {
        let mut first = FuturesUnordered::new();
        let mut again = FuturesUnordered::new();
        loop {
            if first.len() < MAX_EFFECT_BATCHES {
                let batch = take(&self.finishing.effects);
                if !batch.is_empty() {
                    first.push(self.try_once(batch));
                    continue;
                }
            }
            tokio::select! {
                () = self.finishing.effects_wake.notified(), if first.len() < MAX_EFFECT_BATCHES => {
                    // Lets the workers go on, so that there is more than one to send.
                    tokio::task::yield_now().await;
                }
                Some(left) = first.next(), if !first.is_empty() => {
                    if !left.is_empty() {
                        again.push(self.carry_on(left));
                    }
                }
                Some(()) = again.next(), if !again.is_empty() => {}
            }
        }
    }

    /// Until every send of the batch is confirmed: what is not, is tried again while the originals
    /// stay unsettled.
    async fn carry_on(&self, mut batch: Vec<Finished>) {
        let mut backoff = RESEND_BACKOFF.0;
        loop {
            // What the broker took away comes again by itself.
            let (lost, left): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .partition(|f| self.hand.is_lost(f.job.key) && !self.hand.is_acked(f.job.key));
            let held = lost.iter().filter_map(|f| f.end.held().cloned()).collect();
            self.release_claims(held).await;
            self.settle_later(lost.into_iter().map(into_release));
            if left.is_empty() {
                return;
            }
            self.metrics.send_failures.increment(left.len() as u64);
            self.clock.sleep_until(self.clock.instant() + backoff).await;
            backoff = (backoff * 2).min(RESEND_BACKOFF.1);
            batch = self.try_once(left).await;
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
                && !self.hand.is_acked(f.job.key)
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
            let Some(token) = self.hand.live_token(finished.job.key) else {
                self.settle_later([into_release(finished)]);
                continue;
            };
            let sends = finished.sends.iter().map(|s| s.send.clone()).collect();
            units.push(Unit { token, sends });
            committing.push((token, finished));
        }
        if units.is_empty() {
            return Vec::new();
        }
        let deadline = self.clock.instant() + SEND_TIMEOUT;
        let count = units.len();
        let results = answer("commit", deadline, self.consumer.commit(units, deadline)).await;
        let results = complete(results.unwrap_or_default(), count);
        let mut again = Vec::new();
        let mut done = Vec::new();
        for ((token, finished), result) in committing.into_iter().zip(results) {
            match result {
                Ok(()) => done.push(finished),
                Err(error) if error.kind() == ErrorKind::StaleToken => {
                    let back = self.forget(finished, Some(token));
                    if back.is_none() {
                        self.stale(&error);
                    }
                    again.extend(back);
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
            let outcomes = pump.publish_all_once(sends, deadline).await;
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
        if is_the_messages_fault(error) && matches!(finished.notice, Notice::Handled { .. }) {
            let text = error.to_string();
            let reason = DeadLetterReason::OutputRejected;
            return Some(self.dead_lettered(finished.job, reason, text));
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
}

/// Whether an output can never be sent as it is. Credentials, rights and missing objects are put
/// right by people: until then the original stays unsettled.
fn is_the_messages_fault(error: &Error) -> bool {
    use ErrorKind::{Malformed, Other, TooLarge, Unsupported};
    !error.is_retryable() && matches!(error.kind(), TooLarge | Malformed | Unsupported | Other)
}
