//! Several AMQP channels for one task, since the broker works on those side by side, and ends one at
//! every refusal.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use lapin::Channel;
use polymq_core::Result;
use tokio::time::{Instant, timeout_at};

use crate::error;
use crate::link::{Link, Session};

/// How many channels are open at once.
pub(crate) const WIDTH: usize = 8;

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
    pub(crate) async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&Channel) -> lapin::Result<T>,
    ) -> Result<lapin::Result<T>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let channel = match idle {
            Some(channel) => channel,
            None => self.session.channel(self.deadline).await?,
        };
        let answer = timeout_at(self.deadline, call(&channel)).await;
        let answer = answer.map_err(|_| error::late("the broker did not answer in time"))?;
        if answer.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
        Ok(answer)
    }
}
