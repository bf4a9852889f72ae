use std::time::Duration;

use polymq::pipeline::ConsumerState;
use tokio::time::Instant;

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
    pub(super) fn is_over(&mut self, state: &ConsumerState, now: Instant) -> bool {
        let received = state.tally.received + state.tally.received_retries;
        let in_hand = state.waiting + state.running + state.settling;
        let busy = received != self.received || in_hand > 0;
        if busy || !state.broker.attached || !state.broker.connected {
            self.since = now;
            self.received = received;
        }
        now - self.since >= self.limit
    }
}
