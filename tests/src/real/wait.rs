//! Waiting, in real time.

use std::fmt::Debug;
use std::time::Duration;

use polymq_core::Running;
use tokio::time::{Instant, sleep, timeout};

/// Far above what anything here takes on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Looks until `look` finds what it looks for, and returns that. Until then it says what it sees.
///
/// # Panics
/// With what was seen last, when it is not found within a minute.
pub async fn eventually<T, S: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, S>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < end, "never: {what}; last seen: {seen:#?}"),
        }
        sleep(POLL).await;
    }
}

/// Waits until a consumer of this process has handled this many messages.
///
/// # Panics
/// When it doesn't within a minute.
pub async fn until_handled(running: &Running, consumer: &str, count: u64) {
    let what = format!("{consumer} handles {count} messages");
    eventually(&what, async || {
        let tally = running.state(consumer).unwrap_or_else(|e| panic!("{e}")).tally;
        if tally.handled >= count { Ok(()) } else { Err(tally) }
    })
    .await;
}

/// What a future comes to.
///
/// # Panics
/// When it takes longer than a minute.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("not within {} s: {what}", PATIENCE.as_secs()))
}
