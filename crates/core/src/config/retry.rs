use std::collections::BTreeMap;
use std::time::Duration;

/// How delays grow from one delayed retry to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Backoff {
    /// `base` every time.
    Constant,
    /// `base`, twice `base`, three times `base`.
    Linear,
    /// `base`, twice `base`, four times `base`.
    #[default]
    Exponential,
}

/// How a delay is spread, after Marc Brooker, "Exponential Backoff And Jitter" (AWS, 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Jitter {
    /// The delay as it is.
    None,
    /// Anything from zero to the delay.
    #[default]
    Full,
    /// Half of the delay, plus anything from zero to the other half.
    Equal,
    /// Anything from `base` to three times the delay before.
    Decorrelated,
}

/// A consumer's `retry` table: first `immediate` tries in the process, then `delayed` ones.
///
/// The same table applies to ordered channels, where the delays are waited in the process, holding
/// the key and only the key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Tries that follow a failure at once.
    pub immediate: u32,
    /// Tries after those, each after a delay that survives a crash.
    pub delayed: u32,
    /// How delays grow.
    pub backoff: Backoff,
    /// The first delay.
    pub base: Duration,
    /// The cap of every delay.
    pub max: Duration,
    /// How delays are spread.
    pub jitter: Jitter,
    /// No retry is begun later than this after the first failure.
    pub max_elapsed: Option<Duration>,
    /// Per error class: the number of the last attempt. `timeout = 2` gives a message that times
    /// out two attempts in all. Built-in classes: `timeout`, `panic`, `error`.
    pub limits: BTreeMap<String, u32>,
}

impl Default for RetryPolicy {
    /// 2 immediate, 5 delayed, exponential from 1 s to 5 min with full jitter, no `max_elapsed`.
    fn default() -> Self {
        Self {
            immediate: 2,
            delayed: 5,
            backoff: Backoff::Exponential,
            base: Duration::from_secs(1),
            max: Duration::from_secs(300),
            jitter: Jitter::Full,
            max_elapsed: None,
            limits: BTreeMap::new(),
        }
    }
}

impl RetryPolicy {
    /// The longest that all delayed retries of one message can wait together, up to `max_elapsed`.
    #[must_use]
    pub fn longest_total(&self) -> Duration {
        let each = |delayed| Self { delayed, ..self.clone() }.longest_delay();
        let mut total = Duration::ZERO;
        for n in 1..=self.delayed {
            let delay = each(n);
            total = total.saturating_add(delay);
            // At the cap every further delay is the same; after a thousand it hardly matters.
            if delay == self.max || n == 1000 {
                total = total.saturating_add(delay.saturating_mul(self.delayed - n));
                break;
            }
        }
        total.min(self.max_elapsed.unwrap_or(Duration::MAX))
    }

    /// The longest that a delayed retry can wait; zero when there is none.
    #[must_use]
    pub fn longest_delay(&self) -> Duration {
        let Some(last) = self.delayed.checked_sub(1) else {
            return Duration::ZERO;
        };
        let longest = match (self.jitter, self.backoff) {
            (Jitter::Decorrelated, _) => self.max,
            (_, Backoff::Constant) => self.base,
            (_, Backoff::Linear) => self.base.saturating_mul(self.delayed),
            (_, Backoff::Exponential) => self.base.saturating_mul(2u32.saturating_pow(last)),
        };
        longest.min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_delay_follows_the_backoff_up_to_the_cap() {
        let longest = |backoff, jitter, delayed| {
            let base = Duration::from_secs(2);
            let policy = RetryPolicy { backoff, jitter, delayed, base, ..RetryPolicy::default() };
            policy.longest_delay().as_secs()
        };
        assert_eq!(longest(Backoff::Constant, Jitter::Full, 9), 2);
        assert_eq!(longest(Backoff::Linear, Jitter::None, 3), 6);
        assert_eq!(longest(Backoff::Exponential, Jitter::Equal, 4), 16);
        assert_eq!(longest(Backoff::Exponential, Jitter::Full, 10_000), 300);
        assert_eq!(longest(Backoff::Constant, Jitter::Decorrelated, 2), 300);
        assert_eq!(longest(Backoff::Exponential, Jitter::Full, 0), 0);
    }

    #[test]
    fn the_longest_total_adds_up_the_delays_up_to_max_elapsed() {
        let base = RetryPolicy { delayed: 10, ..RetryPolicy::default() };
        let total = |policy: &RetryPolicy| policy.longest_total().as_secs();
        // 1 + 2 + … + 256, then 300 once.
        assert_eq!(total(&base), 511 + 300);
        assert_eq!(total(&RetryPolicy { delayed: 0, ..base.clone() }), 0);
        let endless = RetryPolicy { delayed: u32::MAX, ..base.clone() };
        assert_eq!(total(&endless), 511 + 300 * (u64::from(u32::MAX) - 9));
        let bounded = RetryPolicy { max_elapsed: Some(Duration::from_secs(60)), ..endless };
        assert_eq!(total(&bounded), 60);
        let constant = RetryPolicy { backoff: Backoff::Constant, delayed: 5000, ..base };
        assert_eq!(total(&constant), 5000);
    }
}
