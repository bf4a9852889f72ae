//! The stages between a delivery and its handler, in their order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::breaker::Admission;
use super::dead_letter::DeadLetterReason;
use super::hand::Job;
use super::shared::Shared;
use crate::config::{ExpiredPolicy, StoreFailure};
use crate::dedup::{Claim, ClaimRequest, DedupKey, Held};
use crate::model::{Delivery, Origin, Timestamp, hop};
use crate::publish::check_limits;
use crate::service::Attempt;

/// What the stages say.
#[derive(Debug)]
pub(super) enum Stage {
    /// On to the handler.
    Handle(Ticket),
    /// Done without the handler.
    Skip(Skip),
    /// Dead-lettered without the handler.
    DeadLetter(DeadLetterReason, String),
    /// Sent on to its time.
    Reschedule(Timestamp),
    /// Held in the process until then.
    Park(Instant),
    /// Held in the process while somebody else has the claim, for at most this long.
    Claimed(Duration),
    /// Held until the breaker lets it go.
    Bar,
}

/// What an attempt holds while its handler runs.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    pub(super) held: Option<Held>,
    /// It is the breaker's probe.
    pub(super) probe: bool,
}

/// Why a message needs no handling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    Duplicate,
    Superseded,
    Expired,
    Ignored,
    /// None of the group's subject patterns takes it.
    Filtered,
}

/// How long to wait before a deduplication store that failed is asked again.
const STORE_BACKOFF: Duration = Duration::from_secs(1);
/// How often a claim of somebody else is asked for again: first after this, then after twice as
/// long each time, up to the lease.
const CLAIM_POLL: Duration = Duration::from_millis(20);

/// How long to wait before asking for the `n`th time again.
pub(super) fn claim_poll(n: u32, rest: Duration) -> Duration {
    CLAIM_POLL.saturating_mul(1 << n.min(12)).min(rest)
}

impl Shared {
    /// What ends before it is decoded.
    pub(super) fn screen(&self, delivery: &Delivery) -> Option<Stage> {
        if self.filtered(delivery) {
            return Some(Stage::Skip(Skip::Filtered));
        }
        self.refuse(delivery).map(|(reason, error)| Stage::DeadLetter(reason, error))
    }

    /// Whether the group doesn't want the message. What comes from the retry inbox was wanted when
    /// it came first; of what cannot be read nobody knows.
    fn filtered(&self, delivery: &Delivery) -> bool {
        let patterns = &self.config.subjects;
        let unseen = delivery.origin == Origin::Channel && delivery.malformed.is_none();
        unseen
            && !patterns.is_empty()
            && !patterns.iter().any(|p| p.matches(delivery.message.subject()))
    }

    fn refuse(&self, delivery: &Delivery) -> Option<(DeadLetterReason, String)> {
        let _span = tracing::debug_span!(target: "polymq::process", "limits").entered();
        if let Some(error) = &delivery.malformed {
            return Some((DeadLetterReason::Undecodable, error.to_string()));
        }
        let count = delivery.delivery_count.unwrap_or(0);
        if count > self.config.max_deliveries {
            let error = format!(
                "handed out {count} times without an end, more than max_deliveries = {}",
                self.config.max_deliveries
            );
            return Some((DeadLetterReason::CrashLoop, error));
        }
        let message = &delivery.message;
        let size = self.hops.pump.broker().wire_size(message);
        let error = check_limits(message, size, &self.hops.limits, 0).err()?;
        Some((DeadLetterReason::OverLimit, error.to_string()))
    }

    /// The stages after decoding: expired, due, breaker, dedup. The clock is read only for messages
    /// that carry a time.
    pub(super) async fn admit(&self, job: &Job) -> Stage {
        if let Some(stage) = self.expired(&job.attempt).or_else(|| self.not_due(&job.attempt)) {
            return stage;
        }
        let probe = match self.ask_breaker() {
            Admission::Open => false,
            Admission::Probe => true,
            Admission::Hold => return Stage::Bar,
        };
        let stage = self.claim(job, probe).await;
        if probe && !matches!(stage, Stage::Handle(_)) {
            // The probe never reached the handler: another message is to decide.
            self.record(true, None);
        }
        stage
    }

    fn expired(&self, attempt: &Attempt) -> Option<Stage> {
        let _span = tracing::debug_span!(target: "polymq::process", "expired").entered();
        attempt.delivery.message.expires_at().filter(|at| *at <= self.clock.now())?;
        Some(match self.config.expired {
            ExpiredPolicy::Drop => Stage::Skip(Skip::Expired),
            ExpiredPolicy::DeadLetter => Stage::DeadLetter(
                DeadLetterReason::Expired,
                "the message is past its time-to-live".to_owned(),
            ),
        })
    }

    fn not_due(&self, attempt: &Attempt) -> Option<Stage> {
        let _span = tracing::debug_span!(target: "polymq::process", "due").entered();
        // A later attempt in this process has had its wait here.
        let waited = attempt.number > attempt.delivery.attempt();
        let due = attempt.delivery.due().filter(|due| !waited && *due > self.clock.now())?;
        Some(match self.ordered {
            true => Stage::Park(self.clock.instant_of(due)),
            false => Stage::Reschedule(due),
        })
    }

    fn ask_breaker(&self) -> Admission {
        let _span = tracing::debug_span!(target: "polymq::process", "breaker").entered();
        let admission = self.breaker().map_or(Admission::Open, |mut b| b.admit());
        if admission == Admission::Probe {
            self.follow_breaker();
        }
        admission
    }

    async fn claim(&self, job: &Job, probe: bool) -> Stage {
        let (Some(dedup), Some(config)) = (&self.dedup, &self.config.dedup) else {
            return Stage::Handle(Ticket { held: None, probe });
        };
        if job.held.is_some() {
            return Stage::Handle(Ticket { held: job.held.clone(), probe });
        }
        let attempt = &*job.attempt;
        let message = &attempt.delivery.message;
        let custom = dedup.identity.as_ref().and_then(|identity| {
            // The application's function must not take the worker with it.
            let custom = catch_unwind(AssertUnwindSafe(|| identity(message)));
            custom.unwrap_or_else(|_| {
                tracing::error!(consumer = %self.config.name, "dedup_key panicked; using the id");
                None
            })
        });
        let identity = custom.as_deref().unwrap_or(attempt.id.as_str());
        let key = DedupKey::new(
            &self.config.channel,
            &self.config.group,
            identity,
            hop::replay(message.headers()),
        );
        let request =
            ClaimRequest { key: key.clone(), attempt: attempt.number, lease: config.lease };
        let span = tracing::debug_span!(target: "polymq::process", "claim");
        match dedup.claims.claim(request).instrument(span).await {
            Some(Claim::Granted(fence)) => {
                let held = Some(Held { key, fence });
                self.hand.set_held(job.key, held.clone());
                Stage::Handle(Ticket { held, probe })
            }
            Some(Claim::Done) => Stage::Skip(Skip::Duplicate),
            Some(Claim::Superseded) => Stage::Skip(Skip::Superseded),
            Some(Claim::Held(rest)) => Stage::Claimed(rest),
            None => {
                self.metrics.dedup_failures.increment(1);
                match config.on_store_failure {
                    StoreFailure::Pause => Stage::Park(self.clock.instant() + STORE_BACKOFF),
                    StoreFailure::Pass => Stage::Handle(Ticket { held: None, probe }),
                }
            }
        }
    }
}
