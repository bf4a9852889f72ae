//! Calls of librdkafka that wait, away from the runtime's own threads.

use std::thread;

use polymq_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

/// Runs a call that blocks for as long as it was told to; dropping the future leaves it running to its end.
///
/// # Errors
/// The call's; `Timeout` at the deadline.
pub(crate) async fn blocking<T: Send + 'static>(
    deadline: Instant,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match timeout_at(deadline, tokio::task::spawn_blocking(call)).await {
        Ok(Ok(result)) => result,
        Ok(Err(lost)) => Err(unfinished().with_source(lost)),
        Err(_) => Err(Error::new(ErrorKind::Timeout, "no answer from the brokers by the deadline")),
    }
}

/// Ends a client, which takes a while, on a thread that may wait.
pub(crate) fn dispose<T: Send + 'static>(client: T) {
    // Without a runtime, this is such a thread.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn_blocking(move || drop(client));
    }
}

/// How many calls wait side by side.
const WIDTH: usize = 8;

/// The same call for several things, on threads that wait for them together. Results are in order; the first
/// error ends it.
///
/// # Errors
/// The call's.
pub(crate) fn side_by_side<I: Sync, T: Send>(
    items: &[I],
    call: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(items.len());
    for some in items.chunks(WIDTH) {
        let call = &call;
        let done: Result<Vec<T>> = thread::scope(|scope| {
            let threads: Vec<_> = some.iter().map(|item| scope.spawn(move || call(item))).collect();
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(unfinished()))).collect()
        });
        results.extend(done?);
    }
    Ok(results)
}

fn unfinished() -> Error {
    Error::new(ErrorKind::Other, "a call to librdkafka ended unfinished")
}
