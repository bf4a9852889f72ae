use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::BreakerConfig;

/// What the breaker says to a message that is about to be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Go on.
    Open,
    /// Go on, as the one probe: its outcome decides.
    Probe,
    /// Wait.
    Hold,
}

/// What changed with an outcome or with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Tripped,
    HalfOpened,
    Closed,
}

/// A circuit breaker over a sliding window, in ten buckets, of attempts. No clock of its own.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    buckets: VecDeque<Bucket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Tripped { until: Instant },
    HalfOpen { probing: bool },
}

#[derive(Debug)]
struct Bucket {
    start: Instant,
    attempts: u32,
    failures: u32,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed, buckets: VecDeque::new() }
    }

    /// Whether messages are held back.
    pub(super) fn is_holding(&self) -> bool {
        matches!(self.state, State::Tripped { .. } | State::HalfOpen { probing: true })
    }

    /// When it will be half-open.
    pub(super) fn next_change(&self) -> Option<Instant> {
        match self.state {
            State::Tripped { until } => Some(until),
            _ => None,
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Change> {
        let State::Tripped { until } = self.state else { return None };
        if now < until {
            return None;
        }
        self.state = State::HalfOpen { probing: false };
        Some(Change::HalfOpened)
    }

    pub(super) fn admit(&mut self) -> Admission {
        match self.state {
            State::Closed => Admission::Open,
            State::HalfOpen { probing: false } => {
                self.state = State::HalfOpen { probing: true };
                Admission::Probe
            }
            State::HalfOpen { probing: true } | State::Tripped { .. } => Admission::Hold,
        }
    }

    /// An attempt ended. `failed` is `None` when it says nothing about the dependency: a probe
    /// that ended so is followed by another one.
    pub(super) fn record(
        &mut self,
        now: Instant,
        probe: bool,
        failed: Option<bool>,
    ) -> Option<Change> {
        if probe {
            return match failed {
                Some(true) => Some(self.trip(now)),
                Some(false) => {
                    self.state = State::Closed;
                    self.buckets.clear();
                    Some(Change::Closed)
                }
                None => {
                    self.state = State::HalfOpen { probing: false };
                    Some(Change::HalfOpened)
                }
            };
        }
        let failed = failed?;
        if self.state != State::Closed {
            return None;
        }
        let width = (self.config.window / 10).max(Duration::from_millis(1));
        while self.buckets.front().is_some_and(|b| now >= b.start + self.config.window) {
            self.buckets.pop_front();
        }
        if self.buckets.back().is_none_or(|b| now >= b.start + width) {
            self.buckets.push_back(Bucket { start: now, attempts: 0, failures: 0 });
        }
        if let Some(bucket) = self.buckets.back_mut() {
            bucket.attempts += 1;
            bucket.failures += u32::from(failed);
        }
        let (attempts, failures) =
            self.buckets.iter().fold((0, 0), |(a, f), b| (a + b.attempts, f + b.failures));
        let rate = f64::from(failures) / f64::from(attempts);
        let trips = attempts >= self.config.minimum && rate >= self.config.failure_rate;
        (failed && trips).then(|| self.trip(now))
    }

    fn trip(&mut self, now: Instant) -> Change {
        self.state = State::Tripped { until: now + self.config.open };
        self.buckets.clear();
        Change::Tripped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Instant) {
        let config = BreakerConfig {
            failure_rate: 0.5,
            minimum: 4,
            window: Duration::from_secs(10),
            open: Duration::from_secs(30),
        };
        (Breaker::new(config), Instant::now())
    }

    fn tripped() -> (Breaker, Instant) {
        let (mut breaker, now) = breaker();
        for _ in 0..3 {
            assert_eq!(breaker.record(now, false, Some(true)), None);
        }
        assert_eq!(breaker.record(now, false, Some(true)), Some(Change::Tripped));
        (breaker, now)
    }

    #[test]
    fn it_trips_at_the_rate_but_not_below_the_minimum() {
        let (mut breaker, _) = tripped();
        assert_eq!(breaker.admit(), Admission::Hold);
    }

    #[test]
    fn failures_leave_the_window() {
        let (mut breaker, now) = breaker();
        for _ in 0..3 {
            breaker.record(now, false, Some(true));
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(breaker.record(later, false, Some(true)), None);
    }

    #[test]
    fn outcomes_that_say_nothing_are_not_counted() {
        let (mut breaker, now) = breaker();
        for _ in 0..10 {
            assert_eq!(breaker.record(now, false, None), None);
        }
        assert_eq!(breaker.admit(), Admission::Open);
    }

    #[test]
    fn one_probe_decides_when_half_open() {
        let (mut breaker, now) = tripped();
        assert_eq!(breaker.tick(now + Duration::from_secs(29)), None);
        let later = now + Duration::from_secs(30);
        assert_eq!(breaker.tick(later), Some(Change::HalfOpened));
        assert_eq!(breaker.admit(), Admission::Probe);
        assert_eq!(breaker.admit(), Admission::Hold, "only one");
        assert_eq!(breaker.record(later, false, Some(false)), None, "others don't decide");
        assert_eq!(breaker.record(later, true, None), Some(Change::HalfOpened), "nor does silence");
        assert_eq!(breaker.admit(), Admission::Probe);
        assert_eq!(breaker.record(later, true, Some(true)), Some(Change::Tripped));
        let later = later + Duration::from_secs(30);
        breaker.tick(later);
        breaker.admit();
        assert_eq!(breaker.record(later, true, Some(false)), Some(Change::Closed));
        assert_eq!(breaker.admit(), Admission::Open);
    }
}
