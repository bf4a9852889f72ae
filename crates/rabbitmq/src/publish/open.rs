//! An AMQP channel to publish on.

use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use polymq_core::Result;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::error;
use crate::link::{Session, State, session};

/// How long opening an AMQP channel may take before it is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before a channel that could not be opened is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// An AMQP channel with confirms, as soon as one can be had; `None` when the link was closed, or at
/// `deadline`.
pub(super) async fn confirming(
    link: &mut watch::Receiver<State>,
    deadline: Instant,
) -> Option<(Session, Channel)> {
    loop {
        let attempt = deadline.min(Instant::now() + PATIENCE);
        match open(link, attempt).await {
            Ok(opened) => return Some(opened),
            Err(error) => tracing::debug!(%error, "no AMQP channel to publish on yet"),
        }
        if matches!(&*link.borrow(), State::Closed) || Instant::now() >= deadline {
            return None;
        }
        sleep_until(deadline.min(Instant::now() + PAUSE)).await;
    }
}

async fn open(link: &mut watch::Receiver<State>, deadline: Instant) -> Result<(Session, Channel)> {
    let session = session(link, deadline).await?;
    unblocked(&session, link, deadline).await?;
    let channel = session.channel(deadline).await?;
    let selected = channel.confirm_select(ConfirmSelectOptions::default());
    match timeout_at(deadline, selected).await {
        Ok(selected) => selected.map_err(|e| error::native(&e))?,
        Err(_) => return Err(error::late("the broker did not answer in time")),
    }
    Ok((session, channel))
}

/// Waits while the broker takes nothing: lapin would keep whatever is asked of it, also what nobody
/// waits for any more.
///
/// # Errors
/// `Blocked` at `deadline`, or when the link has ended.
pub(super) async fn unblocked(
    session: &Session,
    link: &mut watch::Receiver<State>,
    deadline: Instant,
) -> Result<()> {
    while session.is_blocked() && session.is_up() {
        match timeout_at(deadline, link.changed()).await {
            Ok(Ok(())) => {}
            _ => return Err(error::blocked()),
        }
    }
    Ok(())
}
