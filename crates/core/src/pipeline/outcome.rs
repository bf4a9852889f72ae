//! From what happened to what is to be done: the one decision per attempt.

use std::sync::Arc;

use super::dead_letter::{DeadLetterReason, Epitaph, MAX_ERROR_BYTES, dead_letter};
use super::decide::{Decision, Failed, decide};
use super::finish::{ClaimEnd, Finished, Notice, Outgoing};
use super::hand::Job;
use super::hop_headers::{MAX_LAST_ERROR_BYTES, NextAttempt, retry_copy};
use super::shared::Shared;
use super::stages::Skip;
use crate::broker::Settlement;
use crate::config::{AckMode, RetryPolicy};
use crate::dedup::{HandOver, Held};
use crate::model::{MessageId, Timestamp};
use crate::service::{DeadLettered, HandlerError, Output, Retried};

/// What follows an attempt.
#[allow(clippy::large_enum_variant, reason = "taken apart at once")]
pub(super) enum Next {
    /// Another attempt in this process, holding the delivery: at once, or then.
    Again(Job, Option<tokio::time::Instant>, Retried),
    /// The end of it here.
    Finish(Finished),
}

impl Shared {
    pub(super) fn handled(&self, job: Job, held: Option<Held>, outputs: Vec<Output>) -> Finished {
        if outputs.is_empty() {
            return Finished {
                key: job.key,
                settlement: Settlement::Ack,
                sends: Vec::new(),
                end: held.map_or(ClaimEnd::None, ClaimEnd::Commit),
                notice: Notice::Handled { outputs: 0 },
                fallback: None,
            };
        }
        Finished {
            key: job.key,
            settlement: Settlement::Ack,
            notice: Notice::Handled { outputs: outputs.len() as u64 },
            sends: outputs
                .into_iter()
                .map(|o| Outgoing { pump: Arc::clone(&o.route.pump), send: o.send })
                .collect(),
            end: held.map_or(ClaimEnd::None, ClaimEnd::Commit),
            fallback: Some(Box::new(job)),
        }
    }

    pub(super) fn skipped(&self, job: &Job, skip: Skip, held: Option<Held>) -> Finished {
        Finished {
            key: job.key,
            settlement: Settlement::Ack,
            sends: Vec::new(),
            // An expired message has had its end; the others hold no claim.
            end: held.map_or(ClaimEnd::None, ClaimEnd::Release),
            notice: Notice::Skipped(skip),
            fallback: None,
        }
    }

    pub(super) fn released(&self, job: Job) -> Finished {
        Finished {
            key: job.key,
            settlement: Settlement::Release,
            sends: Vec::new(),
            end: job.held.map_or(ClaimEnd::None, ClaimEnd::Release),
            notice: Notice::Released,
            fallback: None,
        }
    }

    pub(super) fn rescheduled(&self, job: &Job, due: Timestamp) -> Finished {
        let (channel, group) = (&self.config.channel, &self.config.group);
        let fits = |m: &_| self.hop_fits(m);
        let send = retry_copy(&job.delivery, channel, group, due, None, fits);
        Finished {
            key: job.key,
            settlement: Settlement::Ack,
            sends: vec![Outgoing { pump: Arc::clone(&self.hops.pump), send }],
            end: ClaimEnd::None,
            notice: Notice::Rescheduled,
            fallback: None,
        }
    }

    /// A failed attempt.
    pub(super) fn failed(
        &self,
        mut job: Job,
        id: &MessageId,
        held: Option<Held>,
        error: &HandlerError,
    ) -> Next {
        let now = self.clock.now();
        let first_failure = *job.first_failure.get_or_insert(now);
        job.held = held;
        let decision = match self.config.ack {
            AckMode::After => self.decide(&job, id, first_failure, now, error),
            // It is acked already: nothing would redeliver it.
            AckMode::Before => Decision::DeadLetter(if error.is_permanent() {
                DeadLetterReason::Permanent
            } else {
                DeadLetterReason::RetriesExhausted
            }),
        };
        let (wait, number) = match decision {
            Decision::DeadLetter(reason) => {
                let error = error.chain(MAX_ERROR_BYTES);
                return Next::Finish(self.dead_lettered(job, id, reason, error));
            }
            Decision::Immediate => (std::time::Duration::ZERO, job.number + 1),
            Decision::Delayed(wait) => (wait, job.number + 1),
        };
        let due = now + wait;
        let retried = Retried {
            consumer: self.config.name.clone(),
            id: id.clone(),
            attempt: job.number,
            class: error.error_class().to_owned(),
            error: error.chain(MAX_LAST_ERROR_BYTES),
            due,
        };
        tracing::debug!(
            consumer = %self.config.name,
            messaging.message.id = %id,
            attempt = job.number,
            class = error.error_class(),
            %due,
            error = %retried.error,
            "an attempt failed"
        );
        if decision == Decision::Immediate || self.ordered {
            job.number = number;
            let at = (!wait.is_zero()).then(|| self.clock.instant() + wait);
            return Next::Again(job, at, retried);
        }
        let next = NextAttempt { number, first_failure, error: &retried.error };
        let (channel, group) = (&self.config.channel, &self.config.group);
        let fits = |m: &_| self.hop_fits(m);
        let send = retry_copy(&job.delivery, channel, group, due, Some(next), fits);
        let window = self.config.dedup.as_ref().map_or_else(Default::default, |d| d.window);
        let hand_over = |held| HandOver { held, attempt: number, retain: wait + window };
        Next::Finish(Finished {
            key: job.key,
            settlement: Settlement::Ack,
            sends: vec![Outgoing { pump: Arc::clone(&self.hops.pump), send }],
            end: job.held.clone().map_or(ClaimEnd::None, |h| ClaimEnd::HandOver(hand_over(h))),
            notice: Notice::Retried(Box::new(retried)),
            fallback: None,
        })
    }

    fn decide(
        &self,
        job: &Job,
        id: &MessageId,
        first_failure: Timestamp,
        now: Timestamp,
        error: &HandlerError,
    ) -> Decision {
        let policy: &RetryPolicy = &self.config.retry;
        let failed = Failed {
            id: id.as_str(),
            attempt: job.number,
            permanent: error.is_permanent(),
            class: error.error_class(),
            first_failure,
            now,
        };
        match decide(policy, failed) {
            Decision::DeadLetter(DeadLetterReason::Permanent)
                if error.error_class() == "output" =>
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
        id: &MessageId,
        reason: DeadLetterReason,
        error: String,
    ) -> Finished {
        let epitaph = Epitaph {
            reason,
            error: &error,
            attempts: job.number,
            first_failure: job.first_failure,
            now: self.clock.now(),
            channel: &self.config.channel,
            group: &self.config.group,
            broker: &self.info.name,
        };
        let to = &self.hops.dead_letter;
        let send = dead_letter(&job.delivery, to, epitaph, |m| self.dead_letter_fits(m));
        Finished {
            key: job.key,
            settlement: Settlement::Ack,
            sends: vec![Outgoing { pump: Arc::clone(&self.hops.dead_letter_pump), send }],
            end: job.held.map_or(ClaimEnd::None, ClaimEnd::Commit),
            notice: Notice::DeadLettered(Box::new(DeadLettered {
                consumer: self.config.name.clone(),
                id: id.clone(),
                attempts: job.number,
                reason,
                error,
            })),
            fallback: None,
        }
    }
}
