//! Time, from one place: every stamp and every timer of polymq asks a [`Clock`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, Sleep};

use crate::model::Timestamp;

/// Wall time for stamps that other processes read, monotonic time for timers.
///
/// Timers never look at the wall clock, so a skewed or stepped wall clock moves only the stamps
/// that cross processes (due, expiry), by at most the skew. Both sides follow tokio's paused time
/// in tests, through [`VirtualClock`].
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock, as time since the Unix epoch.
    fn since_epoch(&self) -> Duration;

    /// The wall clock as a stamp: the last whole millisecond.
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(u64::try_from(self.since_epoch().as_millis()).unwrap_or(u64::MAX))
    }

    /// When a wait that begins now is over, rounded up, so that it is never early.
    fn after(&self, wait: Duration) -> Timestamp {
        Timestamp::from_millis(0) + self.since_epoch().saturating_add(wait)
    }

    /// The monotonic clock.
    fn instant(&self) -> Instant {
        Instant::now()
    }

    /// A timer on the monotonic clock. Nothing is allocated.
    fn sleep_until(&self, deadline: Instant) -> Sleep {
        tokio::time::sleep_until(deadline)
    }

    /// The monotonic instant at which the wall clock will reach `at`, never before it.
    fn instant_of(&self, at: Timestamp) -> Instant {
        self.instant() + at.saturating_since(self.now())
    }
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn since_epoch(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A wall clock that starts at a fixed moment and follows tokio's (possibly paused) monotonic time.
///
/// With tokio's time paused, a day of retries passes in milliseconds and every stamp is the same in
/// every run.
///
/// ```
/// use std::time::Duration;
/// use polymq_core::{Clock, VirtualClock};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let clock = VirtualClock::default();
/// let before = clock.now();
/// tokio::time::sleep(Duration::from_secs(86_400)).await; // returns at once
/// assert_eq!(clock.now(), before + Duration::from_secs(86_400));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct VirtualClock {
    origin: Instant,
    start: Timestamp,
}

impl VirtualClock {
    /// A clock that reads `start` now.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { origin: Instant::now(), start }
    }
}

impl Default for VirtualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::starting_at(Timestamp::from_millis(1_767_225_600_000))
    }
}

impl Clock for VirtualClock {
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(self.start.as_millis()) + self.origin.elapsed()
    }
}

/// The clock that applications get unless they bring their own.
#[must_use]
pub fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The furthest a timer is ever set: long enough to mean "never", short enough not to overflow.
pub(crate) const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
