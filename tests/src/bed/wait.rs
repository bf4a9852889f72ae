//! Waiting, in virtual time.

use std::fmt::Debug;
use std::time::Duration;

use polymq_core::Running;
use polymq_core::pipeline::{ConsumerState, Tally};

/// The longest that [`until`] waits, in virtual time.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Waits, in steps of 5 virtual ms, until something holds.
///
/// # Panics
/// When it doesn't within half an hour of virtual time.
pub async fn until<D: Debug>(what: &str, state: impl Fn() -> D, holds: impl Fn(&D) -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = state();
        if holds(&now) {
            return;
        }
        assert!(tokio::time::Instant::now() <= end, "never {what}: {now:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets everything happen that happens within this time.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Lets this many seconds pass.
pub async fn seconds(n: u64) {
    pass(Duration::from_secs(n)).await;
}

/// The tally of a consumer.
#[must_use]
pub fn tally(running: &Running, consumer: &str) -> Tally {
    running.state(consumer).unwrap_or_else(|e| panic!("{e}")).tally
}

/// Waits until a consumer's state says so.
pub async fn until_state(
    running: &Running,
    consumer: &str,
    what: &str,
    holds: impl Fn(&ConsumerState) -> bool,
) {
    let state = || running.state(consumer).unwrap_or_else(|e| panic!("{e}"));
    until(what, state, holds).await;
}

/// Waits until a consumer has handled this many messages.
pub async fn until_handled(running: &Running, consumer: &str, count: u64) {
    until_state(running, consumer, "handled", |s| s.tally.handled >= count).await;
}

/// Waits until a consumer has dead-lettered this many messages.
pub async fn until_dead(running: &Running, consumer: &str, count: u64) {
    until_state(running, consumer, "dead-lettered", |s| s.tally.dead_letters() >= count).await;
}
