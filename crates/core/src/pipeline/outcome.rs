//! From what happened to what is to be done: the one decision per attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::dead_letter::{DeadLetterReason, Epitaph, MAX_ERROR_BYTES, dead_letter};
use super::decide::{Decision, Failed, decide};
use super::finish::{ClaimEnd, Finished, Notice, Outgoing};
use super::hand::Job;
use super::hop_headers::{MAX_LAST_ERROR_BYTES, NextAttempt, retry_copy};
use super::shared::Shared;
use super::stages::Skip;
use crate::broker::Settlement;
use crate::config::AckMode;
use crate::dedup::HandOver;
use crate::model::{Timestamp, hop};
use crate::service::{Attempt, CLASS_OUTPUT, DeadLettered, HandlerError, Output, Retried};

/// What follows an attempt.
#[allow(clippy::large_enum_variant, reason = "taken apart at once")]
pub(super) enum Next {
    /// Another attempt in this process, holding the delivery: at once, or then.
    Again(Job, Option<Instant>, Retried),
    /// The end of it here.
    Finish(Finished),
}

impl Shared {
    pub(super) fn handled(&self, job: Job, outputs: Vec<Output>) -> Finished {
        let outgoing = |o: Output| Outgoing { pump: Arc::clone(&o.route.pump), send: o.send };
        Finished {
            settlement: Settlement::Ack,
            notice: Notice::Handled { outputs: outputs.len() as u64 },
            sends: match outputs.is_empty() {
                true => Vec::new(),
                false => outputs.into_iter().map(outgoing).collect(),
            },
            end: job.held.clone().map_or(ClaimEnd::None, ClaimEnd::Commit),
            job,
        }
    }

    pub(super) fn skipped(&self, job: Job, skip: Skip) -> Finished {
        self.unsent(job, Settlement::Ack, Notice::Skipped(skip))
    }

    pub(super) fn released(&self, job: Job) -> Finished {
        self.unsent(job, Settlement::Release, Notice::Released)
    }

    fn unsent(&self, job: Job, settlement: Settlement, notice: Notice) -> Finished {
        Finished {
            settlement,
            notice,
            sends: Vec::new(),
            end: job.held.clone().map_or(ClaimEnd::None, ClaimEnd::Release),
            job,
        }
    }

    pub(super) fn rescheduled(&self, job: Job, due: Timestamp) -> Finished {
        let (channel, group) = (&self.config.channel, &self.config.group);
        let fits = |m: &_| self.hop_fits(m);
        let send = retry_copy(&job.attempt.delivery, channel, group, due, None, fits);
        Finished {
            settlement: Settlement::Ack,
            sends: vec![Outgoing { pump: Arc::clone(&self.hops.pump), send }],
            end: ClaimEnd::None,
            notice: Notice::Rescheduled,
            job,
        }
    }

    /// A failed attempt.
    pub(super) fn failed(&self, mut job: Job, error: &HandlerError) -> Next {
        let now = self.clock.now();
        let attempt = Arc::make_mut(&mut job.attempt);
        let first_failure = *attempt.first_failure.get_or_insert(now);
        let decision = match self.config.ack {
            AckMode::After => self.decide(attempt, first_failure, now, error),
            // It is acked already: nothing would redeliver it.
            AckMode::Before => Decision::DeadLetter(if error.is_permanent() {
                DeadLetterReason::Permanent
            } else {
                DeadLetterReason::RetriesExhausted
            }),
        };
        let wait = match decision {
            Decision::DeadLetter(reason) => {
                let error = error.chain(MAX_ERROR_BYTES);
                return Next::Finish(self.dead_lettered(job, reason, error));
            }
            Decision::Immediate => Duration::ZERO,
            Decision::Delayed(wait) => wait,
        };
        let due = self.clock.after(wait);
        let retried = Retried {
            consumer: self.config.name.clone(),
            id: attempt.id.clone(),
            attempt: attempt.number,
            class: error.error_class().to_owned(),
            error: error.chain(MAX_LAST_ERROR_BYTES),
            due,
        };
        tracing::debug!(
            consumer = %self.config.name,
            messaging.message.id = %attempt.id,
            attempt = attempt.number,
            class = error.error_class(),
            %due,
            error = %retried.error,
            "an attempt failed"
        );
        attempt.number += 1;
        let number = attempt.number;
        if decision == Decision::Immediate || self.ordered {
            let at = (!wait.is_zero()).then(|| self.clock.instant() + wait);
            return Next::Again(job, at, retried);
        }
        let next = NextAttempt { number, first_failure, error: &retried.error };
        let (channel, group) = (&self.config.channel, &self.config.group);
        let fits = |m: &_| self.hop_fits(m);
        let send = retry_copy(&job.attempt.delivery, channel, group, due, Some(next), fits);
        if send.message.headers().get(hop::ATTEMPT).is_none() {
            // Without its count a copy would be a first attempt again, and the chain without end.
            Arc::make_mut(&mut job.attempt).number = retried.attempt;
            let reason = DeadLetterReason::OverLimit;
            return Next::Finish(self.dead_lettered(job, reason, retried.error));
        }
        let window = self.config.dedup.as_ref().map_or(Duration::ZERO, |d| d.window);
        let hand_over = |held| HandOver { held, attempt: number, retain: wait + window };
        Next::Finish(Finished {
            settlement: Settlement::Ack,
            sends: vec![Outgoing { pump: Arc::clone(&self.hops.pump), send }],
            end: job.held.clone().map_or(ClaimEnd::None, |h| ClaimEnd::HandOver(hand_over(h))),
            notice: Notice::Retried(Box::new(retried)),
            job,
        })
    }

    fn decide(
        &self,
        attempt: &Attempt,
        first_failure: Timestamp,
        now: Timestamp,
        error: &HandlerError,
    ) -> Decision {
        let failed = Failed {
            id: attempt.id.as_str(),
            attempt: attempt.number,
            permanent: error.is_permanent(),
            class: error.error_class(),
            first_failure,
            now,
        };
        match decide(&self.config.retry, failed) {
            Decision::DeadLetter(DeadLetterReason::Permanent)
                if error.error_class() == CLASS_OUTPUT =>
            {
                Decision::DeadLetter(DeadLetterReason::OutputRejected)
            }
            decision => decision,
        }
    }

    /// The end of a message that cannot be handled.
    pub(super) fn dead_lettered(
        &self,
        job: Job,
        reason: DeadLetterReason,
        error: String,
    ) -> Finished {
        let attempt = &*job.attempt;
        let epitaph = Epitaph {
            reason,
            error: &error,
            attempts: attempt.number,
            first_failure: attempt.first_failure,
            now: self.clock.now(),
            channel: &self.config.channel,
            group: &self.config.group,
            broker: &self.info.name,
        };
        let to = &self.hops.dead_letter;
        let send = dead_letter(&attempt.delivery, to, epitaph, |m| self.dead_letter_fits(m));
        Finished {
            settlement: Settlement::Ack,
            sends: vec![Outgoing { pump: Arc::clone(&self.hops.dead_letter_pump), send }],
            end: job.held.clone().map_or(ClaimEnd::None, ClaimEnd::Commit),
            notice: Notice::DeadLettered(Box::new(DeadLettered {
                consumer: self.config.name.clone(),
                id: attempt.id.clone(),
                attempts: attempt.number,
                reason,
                error,
            })),
            job,
        }
    }
}
