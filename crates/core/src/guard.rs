//! Calls into adapters and stores: code that is not ours must not end or hold up our tasks.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

/// How long after its deadline a call is still waited for.
const GRACE: Duration = Duration::from_millis(100);

/// Why a call gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    Panicked,
    Late,
}

/// The answer of a call that is to be back by `deadline`. A call that isn't is dropped.
pub(crate) async fn answer<T>(
    operation: &'static str,
    deadline: Instant,
    call: impl Future<Output = T>,
) -> Result<T, Silence> {
    let silence = match timeout_at(deadline + GRACE, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(_)) => Silence::Panicked,
        Err(_) => Silence::Late,
    };
    tracing::error!(operation, ?silence, "a call gave no answer");
    Err(silence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_panics_or_never_ends_gives_no_answer() {
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(answer("test", soon, async { 1 }).await, Ok(1));
        let panics = async { panic!("on purpose") };
        assert_eq!(answer::<()>("test", soon, panics).await, Err(Silence::Panicked));
        let hangs = std::future::pending::<()>();
        assert_eq!(answer("test", soon, hangs).await, Err(Silence::Late));
        assert!(Instant::now() <= soon + GRACE + Duration::from_millis(1));
    }
}
