//! Calls of librdkafka that wait, away from the runtime's own threads.

use polymq_core::{Error, ErrorKind, Result};
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
        Ok(Err(lost)) => {
            Err(Error::new(ErrorKind::Other, "a call to librdkafka ended unfinished")
                .with_source(lost))
        }
        Err(_) => Err(Error::new(ErrorKind::Timeout, "no answer from the brokers by the deadline")),
    }
}
