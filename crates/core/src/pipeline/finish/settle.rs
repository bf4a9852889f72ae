use std::sync::Arc;

use tracing::Instrument;

use super::{Finished, Notice, RESEND_BACKOFF, take};
use crate::broker::{Settlement, Token};
use crate::dedup::Held;
use crate::guard::answer;
use crate::pipeline::SETTLE_TIMEOUT;
use crate::pipeline::hand::Standing;
use crate::pipeline::shared::Shared;
use crate::pipeline::stages::Skip;
use crate::pipeline::tally::add;
use crate::service::Retried;
use crate::{Error, ErrorKind, Result};

/// A result for each, also where an adapter breaks its contract and gives fewer.
pub(super) fn complete(mut results: Vec<Result<()>>, count: usize) -> Vec<Result<()>> {
    results.resize_with(count, || {
        Err(Error::new(ErrorKind::Other, "the adapter gave no result").retryable(true))
    });
    results
}

type Sorted = (Vec<Finished>, Vec<(Token, Settlement)>, Vec<Finished>, Vec<Finished>);

impl Shared {
    /// Settles, one batch after the other: what arrives meanwhile goes with the next.
    pub(in crate::pipeline) async fn run_settlements(self: Arc<Self>) {
        loop {
            let batch = take(&self.finishing.settlements);
            if batch.is_empty() {
                self.finishing.settlements_wake.notified().await;
                // Lets the workers go on, so that there is more than one to settle.
                tokio::task::yield_now().await;
                continue;
            }
            self.settle(batch).await;
        }
    }

    async fn settle(&self, batch: Vec<Finished>) {
        let (settling, mut settlements, mut done, mut again) = self.sort(batch);
        let mut unknown = false;
        if !settlements.is_empty() {
            let held = self.release_followers(&settling, &mut settlements);
            self.release_claims(held).await;
            let results = self.settle_with_broker(&settlements).await;
            if done.is_empty() && results.iter().all(Result::is_ok) {
                done = settling;
            } else {
                for ((finished, result), (token, _)) in
                    settling.into_iter().zip(results).zip(settlements)
                {
                    match result {
                        Ok(()) => done.push(finished),
                        Err(error) if error.is_retryable() => {
                            unknown = true;
                            again.push(finished);
                        }
                        Err(error) => {
                            let back = self.forget(finished, Some(token));
                            if back.is_none() {
                                self.stale(&error);
                            }
                            again.extend(back);
                        }
                    }
                }
            }
        }
        self.settled(done);
        self.settle_later(again);
        if unknown {
            self.clock.sleep_until(self.clock.instant() + RESEND_BACKOFF.0).await;
        }
    }

    async fn settle_with_broker(&self, settlements: &[(Token, Settlement)]) -> Vec<Result<()>> {
        let deadline = self.clock.instant() + SETTLE_TIMEOUT;
        let span = tracing::debug_span!(
            target: "polymq::settle",
            "settle",
            messaging.operation.name = "settle",
            messaging.destination.name = %self.config.channel,
            messaging.batch.message_count = settlements.len(),
        );
        let settling = self.consumer.settle(settlements, deadline).instrument(span);
        let results = answer("settle", deadline, settling).await.unwrap_or_default();
        complete(results, settlements.len())
    }

    /// What is to be settled and how, what needs no settlement, and what has come back under a new
    /// token.
    fn sort(&self, batch: Vec<Finished>) -> Sorted {
        let standings = self.hand.standings(batch.iter().map(|f| f.job.key));
        let live = |standing: &Standing| matches!(standing, Standing::Live(_));
        let (mut settling, mut done, mut again) = (Vec::new(), Vec::new(), Vec::new());
        if standings.iter().all(live) {
            settling = batch;
        } else {
            for (finished, standing) in batch.into_iter().zip(&standings) {
                match standing {
                    Standing::Live(_) => settling.push(finished),
                    Standing::Acked => done.push(finished),
                    Standing::Gone => again.extend(self.forget(finished, None)),
                }
            }
        }
        let tokens = standings.into_iter().filter_map(|standing| match standing {
            Standing::Live(token) => Some(token),
            _ => None,
        });
        let settlements = settling.iter().zip(tokens).map(|(f, token)| (token, f.settlement));
        let settlements = settlements.collect();
        (settling, settlements, done, again)
    }

    /// The broker took the delivery away, or does not know `stale` any more. Comes back when the same
    /// message is in hand again, under a new token.
    pub(super) fn forget(&self, mut finished: Finished, stale: Option<Token>) -> Option<Finished> {
        let key = finished.job.key;
        match self.hand.forget(finished.job, stale) {
            Some(job) => {
                finished.job = job;
                Some(finished)
            }
            None => {
                tracing::debug!(consumer = %self.config.name, key, "the delivery is no longer ours");
                None
            }
        }
    }

    /// Adds what waits behind released deliveries of the same keys, after all others; returns their
    /// claims.
    fn release_followers(
        &self,
        settling: &[Finished],
        settlements: &mut Vec<(Token, Settlement)>,
    ) -> Vec<Held> {
        if !self.ordered {
            return Vec::new();
        }
        let released = settling.iter().filter(|f| f.settlement == Settlement::Release);
        let (tokens, held): (Vec<_>, Vec<_>) =
            released.flat_map(|f| self.hand.drop_followers(f.job.key)).unzip();
        add(&self.counters.released, tokens.len() as u64);
        settlements.extend(tokens.into_iter().map(|token| (token, Settlement::Release)));
        held.into_iter().flatten().collect()
    }

    pub(super) fn stale(&self, error: &Error) {
        self.metrics.stale.increment(1);
        add(&self.counters.stale, 1);
        tracing::warn!(consumer = %self.config.name, %error, "settled too late: the message comes again, a possible duplicate");
    }

    pub(super) fn settled(&self, done: Vec<Finished>) {
        if done.is_empty() {
            return;
        }
        let (mut handled, mut outputs) = (0, 0);
        for finished in &done {
            match &finished.notice {
                Notice::Handled { outputs: n } => {
                    handled += 1;
                    outputs += n;
                }
                notice => self.tell(notice),
            }
        }
        self.hand.remove(done.into_iter().map(|f| f.job));
        self.show_in_hand();
        self.metrics.handled.increment(handled);
        add(&self.counters.handled, handled);
        add(&self.counters.outputs, outputs);
    }

    fn tell(&self, notice: &Notice) {
        let counters = &self.counters;
        let (counter, outcome) = match notice {
            Notice::Handled { .. } => return,
            Notice::Skipped(Skip::Duplicate) => (&counters.duplicates, "duplicate"),
            Notice::Skipped(Skip::Superseded) => (&counters.superseded, "superseded"),
            Notice::Skipped(Skip::Expired) => (&counters.expired, "expired"),
            Notice::Skipped(Skip::Ignored) => (&counters.ignored, "ignored"),
            Notice::Skipped(Skip::Filtered) => (&counters.filtered, "filtered"),
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
        if let Notice::Retried(retried) = notice {
            self.hooks.retried(retried);
        }
    }

    /// A retry within the process, which settles nothing.
    pub(in crate::pipeline) fn tell_retried(&self, retried: Retried) {
        self.tell(&Notice::Retried(Box::new(retried)));
    }
}
