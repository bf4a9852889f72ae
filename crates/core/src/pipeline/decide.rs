use std::time::Duration;

use super::DeadLetterReason;
use super::backoff::delay;
use crate::config::RetryPolicy;
use crate::model::Timestamp;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Another try at once, in the process.
    Immediate,
    /// Another try after this delay.
    Delayed(Duration),
    /// No more.
    DeadLetter(DeadLetterReason),
}

/// A failed attempt, as far as deciding goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed<'a> {
    pub(super) id: &'a str,
    /// The number of the attempt that failed.
    pub(super) attempt: u32,
    pub(super) permanent: bool,
    pub(super) class: &'a str,
    pub(super) first_failure: Timestamp,
    pub(super) now: Timestamp,
}

/// Policy decides; the pipeline executes.
pub(super) fn decide(policy: &RetryPolicy, failed: Failed<'_>) -> Decision {
    let Failed { attempt, .. } = failed;
    if failed.permanent {
        return Decision::DeadLetter(DeadLetterReason::Permanent);
    }
    let limit = policy.limits.get(failed.class).copied().unwrap_or(u32::MAX);
    let tries = policy.immediate.saturating_add(policy.delayed).saturating_add(1);
    if attempt >= limit.min(tries) {
        return Decision::DeadLetter(DeadLetterReason::RetriesExhausted);
    }
    let (wait, decision) = if attempt <= policy.immediate {
        (Duration::ZERO, Decision::Immediate)
    } else {
        let wait = delay(policy, failed.id, attempt - policy.immediate);
        (wait, Decision::Delayed(wait))
    };
    let elapsed = failed.now.saturating_since(failed.first_failure) + wait;
    if policy.max_elapsed.is_some_and(|max| elapsed > max) {
        return Decision::DeadLetter(DeadLetterReason::MaxElapsed);
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Jitter;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            immediate: 2,
            delayed: 2,
            base: Duration::from_secs(10),
            jitter: Jitter::None,
            limits: [("timeout".to_owned(), 2)].into(),
            ..RetryPolicy::default()
        }
    }

    fn failed(attempt: u32) -> Failed<'static> {
        Failed {
            id: "id",
            attempt,
            permanent: false,
            class: "error",
            first_failure: Timestamp::from_millis(0),
            now: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn immediate_tries_come_first_then_delayed_ones_then_the_dead_letter() {
        let decisions: Vec<_> = (1..=5).map(|n| decide(&policy(), failed(n))).collect();
        assert_eq!(
            decisions,
            [
                Decision::Immediate,
                Decision::Immediate,
                Decision::Delayed(Duration::from_secs(10)),
                Decision::Delayed(Duration::from_secs(20)),
                Decision::DeadLetter(DeadLetterReason::RetriesExhausted),
            ]
        );
    }

    #[test]
    fn a_permanent_error_is_never_retried() {
        let decision = decide(&policy(), Failed { permanent: true, ..failed(1) });
        assert_eq!(decision, Decision::DeadLetter(DeadLetterReason::Permanent));
    }

    #[test]
    fn a_class_has_its_own_limit() {
        let timeout = |n| decide(&policy(), Failed { class: "timeout", ..failed(n) });
        assert_eq!(timeout(1), Decision::Immediate);
        assert_eq!(timeout(2), Decision::DeadLetter(DeadLetterReason::RetriesExhausted));
    }

    #[test]
    fn no_retry_begins_after_max_elapsed() {
        let policy = RetryPolicy { max_elapsed: Some(Duration::from_secs(15)), ..policy() };
        let at = |attempt, now| {
            decide(&policy, Failed { now: Timestamp::from_millis(now), ..failed(attempt) })
        };
        assert_eq!(at(3, 5_000), Decision::Delayed(Duration::from_secs(10)));
        assert_eq!(at(3, 5_001), Decision::DeadLetter(DeadLetterReason::MaxElapsed));
        assert_eq!(at(1, 15_001), Decision::DeadLetter(DeadLetterReason::MaxElapsed));
    }
}
