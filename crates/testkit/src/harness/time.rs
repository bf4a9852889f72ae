use std::panic::Location;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, pause};

/// Makes tokio's time virtual, unless it is already.
///
/// # Panics
/// On a runtime whose time cannot be paused, with what to change.
pub(super) fn make_virtual(caller: &Location<'_>) {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::CurrentThread) => {}
        Ok(_) => panic!(
            "{caller}: the harness runs in virtual time, which only the current_thread runtime \
             has; write #[tokio::test] without `flavor = \"multi_thread\"`"
        ),
        Err(_) => panic!("{caller}: the harness needs a tokio runtime; write #[tokio::test]"),
    }
    if !is_paused() {
        pause();
    }
}

/// Makes sure that time is real.
///
/// # Panics
/// When it is virtual, with what to change.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) fn require_real_time(caller: &Location<'_>) {
    assert!(
        !is_paused(),
        "{caller}: a real broker runs in real time, and this test's is virtual; make the broker \
         before any other, and write #[tokio::test] without `start_paused`"
    );
}

/// While tokio's time is paused, real time passes without it.
fn is_paused() -> bool {
    let before = Instant::now();
    thread::sleep(Duration::from_millis(1));
    Instant::now() == before
}
