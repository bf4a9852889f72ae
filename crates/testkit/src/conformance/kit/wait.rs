use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long something that must come true may take.
pub(in crate::conformance) const PATIENCE: Duration = Duration::from_secs(30);

/// How long to watch for something that must not happen, beyond the moment at which it would.
pub(in crate::conformance) const QUIET: Duration = Duration::from_millis(300);

/// By how much a wait may seem to end early: stamps are whole milliseconds.
pub(in crate::conformance) const RESOLUTION: Duration = Duration::from_millis(1);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A deadline for one operation on the broker.
pub(in crate::conformance) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits until `condition` holds; fails with `what` when it does not come true.
pub(in crate::conformance) async fn until(
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = soon();
    while !condition() {
        if Instant::now() >= deadline {
            bail!("not within {PATIENCE:?}: {what}");
        }
        sleep(POLL).await;
    }
    Ok(())
}
