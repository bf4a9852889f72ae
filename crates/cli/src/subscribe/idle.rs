use std::time::Duration;

use polymq::pipeline::ConsumerState;
use tokio::time::Instant;

/// What a look at the consumer shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The broker would hand messages out to it.
    attached: bool,
    /// How many deliveries have come so far.
    received: u64,
    /// How many of them have not been settled.
    in_hand: usize,
}

impl From<&ConsumerState> for Seen {
    fn from(state: &ConsumerState) -> Self {
        Self {
            attached: state.broker.attached && state.broker.connected,
            received: state.tally.received + state.tally.received_retries,
            in_hand: state.waiting + state.running + state.settling,
        }
    }
}

/// `--idle`: for how long nothing has come while the consumer was attached.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Duration,
    since: Instant,
    received: u64,
}

impl Idle {
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, since: now, received: 0 }
    }

    /// How often to look, so that the end is late by little.
    pub(super) fn period(&self) -> Duration {
        (self.limit / 20).clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    /// Whether it has been idle for long enough, as of now.
    pub(super) fn is_over(&mut self, seen: Seen, now: Instant) -> bool {
        if seen.received != self.received || seen.in_hand > 0 || !seen.attached {
            self.since = now;
            self.received = seen.received;
        }
        now - self.since >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Seen = Seen { attached: true, received: 0, in_hand: 0 };

    #[test]
    fn time_counts_only_while_attached_with_nothing_in_hand() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut idle = Idle::new(Duration::from_secs(5), start);
        assert!(!idle.is_over(QUIET, at(4)));
        assert!(!idle.is_over(Seen { attached: false, ..QUIET }, at(60)));
        assert!(!idle.is_over(QUIET, at(64)));
        assert!(!idle.is_over(Seen { in_hand: 1, ..QUIET }, at(70)));
        assert!(!idle.is_over(Seen { received: 1, ..QUIET }, at(74)));
        assert!(!idle.is_over(Seen { received: 1, ..QUIET }, at(78)));
        assert!(idle.is_over(Seen { received: 1, ..QUIET }, at(79)));
    }
}
