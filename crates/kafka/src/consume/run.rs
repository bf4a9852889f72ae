//! The life of a consumer's thread: one client after another, until the consumer is closed.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use polymq_core::broker::Event;
use polymq_core::{Error, ErrorKind, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;

use super::context::{Client, Context, agree};
use super::session::{End, Session};
use super::shared::{Phase, Shared};
use super::{Attach, attachment, settings};
use crate::context::Watch;
use crate::error;

/// How long to wait before a client is made anew: at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Starts the thread.
///
/// # Errors
/// `Other` when the system has no thread left.
pub(super) fn spawn(wanted: Attach, shared: Arc<Shared>, watch: Arc<Watch>) -> Result<()> {
    let name = format!("kafka-{}", wanted.subscription.consumer);
    let life = Life { wanted, shared, watch };
    let started = thread::Builder::new().name(name).spawn(move || life.run());
    started.map(drop).map_err(|e| {
        Error::new(ErrorKind::Other, "the consumer's thread cannot be started").with_source(e)
    })
}

struct Life {
    wanted: Attach,
    shared: Arc<Shared>,
    watch: Arc<Watch>,
}

impl Life {
    fn run(self) {
        self.shared.wakes(thread::current());
        let mut backoff = BACKOFF.0;
        loop {
            let begun = Instant::now();
            let reason = match self.live_once() {
                Ok(flushed) => return self.end(flushed),
                Err(reason) => reason,
            };
            if begun.elapsed() > BACKOFF.1 {
                backoff = BACKOFF.0;
            }
            if !self.outlives(reason) || !self.wait(backoff) {
                return self.end(false);
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    fn end(&self, flushed: bool) {
        drop(self.shared.lock().table.unassign(|_| true));
        self.shared.phase.send_replace(Phase::Ended { flushed });
        self.shared.wake_receiver();
    }

    /// One client, until the consumer is closed: says whether everything could be told to the brokers.
    ///
    /// # Errors
    /// Why another client is needed.
    fn live_once(&self) -> Result<bool> {
        let config: ClientConfig = settings::client(&self.wanted)?;
        let context = Context::new(Arc::clone(&self.watch));
        let mut client: Client =
            config.create_with_context(context).map_err(|e| error::client(&e))?;
        let waker = thread::current();
        client.set_nonempty_callback(move || waker.unpark());
        let client = Arc::new(client);
        let mut session = Session::new(&self.wanted, &self.shared, &self.watch, &client);
        let end =
            attachment::join(&client, &self.wanted, &self.shared).and_then(|()| session.run());
        let rest = session.rest();
        client.context().end();
        if let Some(rebalance) = rest {
            agree(&client, &rebalance);
        }
        match end {
            Ok(End::Closed { flushed }) => {
                drop(client);
                Ok(flushed)
            }
            Err(reason) => {
                // Closing it may take long when the brokers are away.
                let closing = thread::Builder::new().name("kafka-closing".to_owned());
                if let Err(error) = closing.spawn(move || drop(client)) {
                    tracing::warn!(%error, "a client of Kafka could not be closed in its own time");
                }
                Err(reason)
            }
        }
    }

    /// Whether another client is made after this.
    fn outlives(&self, reason: Error) -> bool {
        let lost = self.shared.lock().table.unassign(|_| true);
        if !lost.is_empty() {
            self.shared.events.send(Event::LeaseLost { tokens: lost });
        }
        let is_attaching = *self.shared.phase.borrow() == Phase::Attaching;
        let consumer = &self.wanted.subscription.consumer;
        if self.shared.closing().is_some() {
            return false;
        }
        if is_attaching && !is_passing(&reason) {
            self.shared.fail(reason);
            return false;
        }
        tracing::warn!(%consumer, error = %reason, "detached; attaching again");
        if !is_attaching {
            self.shared.phase.send_replace(Phase::Detached);
            self.shared.fail(reason);
        }
        true
    }

    /// Waits before the next client; says whether there is to be one.
    fn wait(&self, backoff: Duration) -> bool {
        let until = Instant::now() + backoff;
        loop {
            if self.shared.closing().is_some() {
                return false;
            }
            match until.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => thread::park_timeout(left),
                _ => return true,
            }
        }
    }
}

/// Whoever attaches waits for what may be mended by itself, or by fresh credentials.
fn is_passing(error: &Error) -> bool {
    error.is_retryable() || error.kind() == ErrorKind::Unauthenticated
}
