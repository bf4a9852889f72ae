use crate::config::reader::Reader;
use crate::config::{Backoff, Jitter, RetryPolicy};

/// Above this, counts are mistakes.
const MAX_TRIES: i64 = 10_000;

pub(super) fn read(mut r: Reader<'_>) -> RetryPolicy {
    let d = RetryPolicy::default();
    let policy = RetryPolicy {
        immediate: r.integer("immediate", 0..=MAX_TRIES).unwrap_or(d.immediate),
        delayed: r.integer("delayed", 0..=MAX_TRIES).unwrap_or(d.delayed),
        backoff: r.choice("backoff", &BACKOFF).unwrap_or(d.backoff),
        base: r.duration("base").unwrap_or(d.base),
        max: r.duration("max").unwrap_or(d.max),
        jitter: r.choice("jitter", &JITTER).unwrap_or(d.jitter),
        max_elapsed: r.duration("max_elapsed").or(d.max_elapsed),
        limits: r
            .numbers("limits", &(1..=MAX_TRIES))
            .map_or(d.limits, |limits| limits.into_iter().collect()),
    };
    if policy.base > policy.max {
        let key = if r.has("base") { "base" } else { "max" };
        let message = "the first delay `base` is longer than the longest, `max`";
        r.problem(key, message, "lower `base` or raise `max`");
    }
    policy
}

const BACKOFF: [(&str, Backoff); 3] = [
    ("constant", Backoff::Constant),
    ("linear", Backoff::Linear),
    ("exponential", Backoff::Exponential),
];

const JITTER: [(&str, Jitter); 4] = [
    ("none", Jitter::None),
    ("full", Jitter::Full),
    ("equal", Jitter::Equal),
    ("decorrelated", Jitter::Decorrelated),
];
