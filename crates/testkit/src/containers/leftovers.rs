//! What tests leave on a broker that they share, and how long it stays.

use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polymq_core::Result;

/// How the names begin; the second of their making follows.
const PREFIX: &str = "polymq-test-";
/// After this time something belongs to a test that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A name for what one test makes for itself.
pub(super) fn name() -> String {
    format!("{PREFIX}{}-{:016x}", now().as_secs(), rand::random::<u64>())
}

/// The second, as text, in which a test has made what has this name.
pub(super) fn made(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)?.split('-').next()
}

/// Whether a test has made this, and so long ago that it must have ended.
pub(super) fn is_abandoned(name: &str, now: Duration) -> bool {
    made(name).is_some_and(|made| is_past(made, ABANDONED, now))
}

/// Whether it is longer than `time` since a second, as text.
pub(super) fn is_past(second: &str, time: Duration, now: Duration) -> bool {
    second.parse().is_ok_and(|second| Duration::from_secs(second) + time < now)
}

/// Since 1970. The test's own clock may be a virtual one.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Runs on a thread and a runtime of its own: the test's may be at its end. What fails is left to the
/// next run.
pub(super) fn apart(
    task: impl Future<Output = Result<()>> + Send + 'static,
) -> JoinHandle<Option<()>> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(task).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_test_has_made_long_ago_is_abandoned() {
        let now = Duration::from_secs(10_000);
        assert!(is_abandoned("polymq-test-6399-0123", now));
        assert!(is_abandoned("polymq-test-6399-0123.orders", now));
        assert!(!is_abandoned("polymq-test-6400-0123", now));
        assert!(!is_abandoned("polymq-test-", now));
        assert!(!is_abandoned("production", now));
        assert!(!is_abandoned(&name(), super::now()));
    }
}
