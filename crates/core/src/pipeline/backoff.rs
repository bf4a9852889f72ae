use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::{Backoff, Jitter, RetryPolicy};

/// The delay before the `n`th delayed retry (from 1) of a message, jitter included.
///
/// The draw is seeded by the message's id and `n`, so the same message always waits the same: a
/// delay can be recomputed from a log, and a copy that is made twice is due at the same time.
///
/// Formulas: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Every delay
/// is capped by `max` before jitter is applied.
pub(super) fn delay(policy: &RetryPolicy, id: &str, n: u32) -> Duration {
    let capped = |d: Duration| d.min(policy.max);
    let plain = |n: u32| {
        capped(match policy.backoff {
            Backoff::Constant => policy.base,
            Backoff::Linear => policy.base.saturating_mul(n),
            Backoff::Exponential => {
                policy.base.saturating_mul(1u32.checked_shl(n - 1).unwrap_or(u32::MAX))
            }
        })
    };
    let n = n.max(1);
    match policy.jitter {
        Jitter::None => plain(n),
        Jitter::Full => between(Duration::ZERO, plain(n), draw(id, n)),
        Jitter::Equal => between(plain(n) / 2, plain(n), draw(id, n)),
        // Each delay follows from the one before, so all of them are drawn again.
        Jitter::Decorrelated => (1..=n).fold(policy.base, |before, k| {
            capped(between(policy.base, before.saturating_mul(3), draw(id, k)))
        }),
    }
}

/// A number in [0, 1): the first 53 bits of the SHA-256 of the id and `n`.
fn draw(id: &str, n: u32) -> f64 {
    let digest: [u8; 32] =
        Sha256::new().chain_update(id.as_bytes()).chain_update(n.to_be_bytes()).finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    const SCALE: f64 = (1u64 << 53) as f64;
    (u64::from_be_bytes(first) >> 11) as f64 / SCALE
}

fn between(low: Duration, high: Duration, at: f64) -> Duration {
    let span = high.saturating_sub(low);
    low + Duration::try_from_secs_f64(span.as_secs_f64() * at).unwrap_or(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(backoff: Backoff, jitter: Jitter) -> RetryPolicy {
        RetryPolicy {
            backoff,
            jitter,
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
            delayed: 8,
            ..RetryPolicy::default()
        }
    }

    fn seconds(policy: &RetryPolicy, n: impl IntoIterator<Item = u32>) -> Vec<u64> {
        n.into_iter().map(|n| delay(policy, "id", n).as_secs()).collect()
    }

    #[test]
    fn without_jitter_delays_are_the_formula_up_to_the_cap() {
        assert_eq!(seconds(&policy(Backoff::Constant, Jitter::None), 1..=3), [1, 1, 1]);
        assert_eq!(seconds(&policy(Backoff::Linear, Jitter::None), [1, 2, 99]), [1, 2, 60]);
        let exponential = policy(Backoff::Exponential, Jitter::None);
        assert_eq!(seconds(&exponential, 1..=8), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(&exponential, [33, 1000, u32::MAX]), [60, 60, 60]);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_spreads() {
        let plain = policy(Backoff::Exponential, Jitter::None);
        for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated] {
            let jittered = policy(Backoff::Exponential, jitter);
            let mut seen = std::collections::HashSet::new();
            for i in 0..200 {
                let (id, n) = (i.to_string(), i % 8 + 1);
                let (d, top) = (delay(&jittered, &id, n), delay(&plain, &id, n));
                match jitter {
                    Jitter::Equal => assert!(d >= top / 2 && d <= top, "{jitter:?} {n} {d:?}"),
                    Jitter::Full => assert!(d <= top, "{jitter:?} {n} {d:?}"),
                    _ => assert!(d >= jittered.base && d <= jittered.max, "{n} {d:?}"),
                }
                assert!(d <= jittered.longest_delay());
                seen.insert(d);
            }
            assert!(seen.len() > 150, "{jitter:?} drew only {} values", seen.len());
        }
    }

    #[test]
    fn the_same_message_always_waits_the_same() {
        let policy = policy(Backoff::Exponential, Jitter::Decorrelated);
        assert_eq!(delay(&policy, "a", 5), delay(&policy, "a", 5));
        assert_ne!(delay(&policy, "a", 5), delay(&policy, "b", 5));
    }
}
