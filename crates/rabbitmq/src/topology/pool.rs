//! Several AMQP channels for one task, since the broker works on those side by side, and ends one at
//! every refusal.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::Channel;
use polymq_core::Result;
use tokio::time::{Instant, timeout_at};

use crate::error;
use crate::link::{Link, Session};

/// How many channels are open at once.
const WIDTH: usize = 8;

/// How long an operator's call may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Idle channels are closed with the pool.
#[derive(Debug)]
pub(crate) struct Pool {
    session: Session,
    idle: Mutex<Vec<Channel>>,
    deadline: Instant,
}

impl Pool {
    /// A pool on the link's connection; everything in it ends at a deadline from now.
    pub(crate) async fn open(link: &Link) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let session = link.session(deadline).await?;
        Ok(Self { session, idle: Mutex::default(), deadline })
    }

    /// Runs one call on a channel of the pool. A channel that was refused something is not used again.
    pub(crate) async fn call<T, F>(
        &self,
        call: impl FnOnce(Channel) -> F,
    ) -> Result<lapin::Result<T>>
    where
        F: Future<Output = lapin::Result<T>>,
    {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let channel = match idle {
            Some(channel) => channel,
            None => self.session.channel(self.deadline).await?,
        };
        let answer = timeout_at(self.deadline, call(channel.clone())).await;
        let answer = answer.map_err(|_| error::late("the broker did not answer in time"))?;
        if answer.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
        Ok(answer)
    }
}

/// Several calls at once, their results in the order of the calls; ends at the first error.
pub(crate) async fn side_by_side<T>(
    calls: impl Iterator<Item = impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    // Collected, since a lazy iterator over borrowed things is not `Send` in the eyes of the compiler.
    let calls: Vec<_> = calls.collect();
    stream::iter(calls).buffered(WIDTH).try_collect().await
}
