use futures_util::FutureExt;
use lapin::Channel;
use polymq_core::Result;
use tokio::time::{Instant, timeout_at};

use crate::error;
use crate::link::Session;

/// AMQP's code for "all is well".
const SUCCESS: u16 = 200;

/// The AMQP channel of one consumer, with everything that it consumes: one sequence of delivery tags.
///
/// Dropping it closes the channel. That gives back what is unsettled before anybody else is served: a
/// queue with a single active consumer keeps its order. Cancelling the consumers would serve the next
/// one first, with later messages; and that is what lapin's consumers do when they are dropped while
/// their channel is open. So whoever has both drops this one first.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) channel: Channel,
    pub(crate) session: Session,
}

impl Attachment {
    pub(crate) async fn open(session: &Session, deadline: Instant) -> Result<Self> {
        let channel = session.channel(deadline).await?;
        Ok(Self { channel, session: session.clone() })
    }

    /// Closes the channel after everything that was issued on it, by `deadline`.
    ///
    /// # Errors
    /// `Timeout`. A channel that is closed already is no error.
    pub(crate) async fn close(&self, deadline: Instant) -> Result<()> {
        let closing = self.channel.close(SUCCESS, "closed".into());
        match timeout_at(deadline, closing).await {
            Ok(_) => Ok(()),
            Err(_) => Err(error::late(
                "the broker did not confirm in time that the AMQP channel is closed: settlements may be lost, and their messages come again",
            )),
        }
    }

    /// The channel takes settlements.
    pub(crate) fn is_up(&self) -> bool {
        self.channel.status().connected()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // The first poll sends it; nobody is left to wait for the answer.
        let _ = self.channel.close(SUCCESS, "dropped".into()).now_or_never();
    }
}
