//! A connection that is kept up: the supervisor.
//!
//! lapin's own recovery replays topology and consumers but not what a channel error ended, and gives no
//! word on which deliveries went stale. Here a lost connection is replaced by a new one with a higher
//! number, and whoever used the old one sees that number change.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use lapin::{Channel, Connection};
use polymq_core::broker::{Event, EventSender};
use polymq_core::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::error;
use crate::target::Target;

/// The longest that one attempt to connect may take, handshake included.
const ATTEMPT: Duration = Duration::from_secs(10);

/// How long before the deadline the last attempt begins, however long the wait before it would be.
const LAST_ATTEMPT: Duration = Duration::from_millis(500);

/// How often a connection is looked at that says nothing.
const GLANCE: Duration = Duration::from_secs(1);

/// How long the broker may take to answer that a connection ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a link stands.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// There is a connection.
    Up(Session),
    /// There is none; this is why.
    Down(Arc<Error>),
    /// There will be none any more.
    Closed,
}

/// One connection of a link's life.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Grows with every connection of the link.
    pub(crate) number: u32,
    connection: Arc<Connection>,
}

impl Session {
    /// A new AMQP channel, by `deadline`.
    pub(crate) async fn channel(&self, deadline: Instant) -> Result<Channel> {
        match timeout_at(deadline, self.connection.create_channel()).await {
            Ok(channel) => channel.map_err(|e| error::native(&e).with_operation("open channel")),
            Err(_) => Err(error::late("no AMQP channel was opened in time")),
        }
    }

    /// The broker takes nothing for now: what is written waits in the client.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Whether the connection is still up.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// The largest frame, in bytes, as negotiated.
    pub(crate) fn frame_max(&self) -> usize {
        self.connection.configuration().frame_max() as usize
    }
}

/// A connection to one broker, for one purpose, that is made anew whenever it is lost.
///
/// Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
}

impl Link {
    /// Connects; retries until `deadline` while the broker is away.
    ///
    /// # Errors
    /// What the last attempt said. Errors that trying again won't mend come at once: wrong
    /// credentials, a missing virtual host, a certificate that cannot be read.
    pub(crate) async fn open(
        target: Arc<Target>,
        purpose: &'static str,
        events: EventSender,
        deadline: Instant,
    ) -> Result<Self> {
        let mut delays = backoff();
        let last = deadline.checked_sub(LAST_ATTEMPT).unwrap_or(deadline);
        let connection = loop {
            let error = match attempt(&target, purpose, deadline).await {
                Ok(connection) => break connection,
                Err(error) => error.with_broker(target.broker()),
            };
            let now = Instant::now();
            if !error.is_retryable() || now >= last {
                return Err(error);
            }
            tracing::debug!(%error, purpose, "not connected yet");
            let next = now + delays.next().unwrap_or_default();
            tokio::time::sleep_until(next.min(last)).await;
        };
        let session = Session { number: 1, connection: Arc::new(connection) };
        let (sender, state) = watch::channel(State::Up(session.clone()));
        let (stop, stopped) = watch::channel(false);
        let supervisor = Supervisor { target, purpose, events, state: sender, stopped };
        Ok(Self { state, stop, supervisor: tokio::spawn(supervisor.run(session)) })
    }

    /// How the link stands, now and from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The connection, as soon as there is one.
    ///
    /// # Errors
    /// `Closed`; at the deadline `Disconnected` with the reason of the last failure.
    pub(crate) async fn session(&self, deadline: Instant) -> Result<Session> {
        session(&mut self.watch(), deadline).await
    }

    /// Ends the connection in an orderly way, by `deadline`.
    pub(crate) async fn close(&self, deadline: Instant) {
        let session = match &*self.state.borrow() {
            State::Up(session) => Some(session.clone()),
            _ => None,
        };
        let _ = self.stop.send(true);
        // Everything was flushed before: nobody waits for a broker that doesn't answer the farewell.
        let deadline = deadline.min(Instant::now() + FAREWELL);
        // A blocked connection writes nothing, a farewell neither.
        if let Some(session) = session.filter(|session| !session.is_blocked()) {
            let closing = session.connection.close(200, "closed".into());
            // An error says that it is closed already; after the deadline dropping it has to do.
            let _ = timeout_at(deadline, closing).await;
        }
        let mut state = self.watch();
        let _ = timeout_at(deadline, state.wait_for(|s| matches!(s, State::Closed))).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// The connection that `state` shows, as soon as it shows one.
///
/// # Errors
/// As [`Link::session`].
pub(crate) async fn session(
    state: &mut watch::Receiver<State>,
    deadline: Instant,
) -> Result<Session> {
    loop {
        let down = match &*state.borrow_and_update() {
            State::Up(session) if session.is_up() => return Ok(session.clone()),
            State::Up(_) => None,
            State::Down(reason) => Some(Arc::clone(reason)),
            State::Closed => return Err(error::closed("connection")),
        };
        match timeout_at(deadline, state.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(error::closed("connection")),
            Err(_) => return Err(error::away(down.as_deref())),
        }
    }
}

/// The waits between attempts.
pub(crate) fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build()
}

async fn attempt(target: &Target, purpose: &str, deadline: Instant) -> Result<Connection> {
    let deadline = deadline.min(Instant::now() + ATTEMPT);
    match timeout_at(deadline, target.connect(purpose)).await {
        Ok(connected) => connected,
        Err(_) => Err(error::away(None).with_context("address", target.address())),
    }
}

struct Supervisor {
    target: Arc<Target>,
    purpose: &'static str,
    events: EventSender,
    state: watch::Sender<State>,
    stopped: watch::Receiver<bool>,
}

impl Supervisor {
    async fn run(mut self, mut session: Session) {
        loop {
            let mut stopped = self.stopped.clone();
            let lost = tokio::select! {
                biased;
                // First: a connection that we close is not lost.
                _ = stopped.wait_for(|stop| *stop) => return self.end(),
                lost = self.watch_over(&session) => lost,
            };
            tracing::warn!(broker = self.target.broker(), purpose = self.purpose, error = %lost, "connection lost");
            self.events.send(Event::Disconnected { reason: lost.to_string() });
            self.state.send_replace(State::Down(Arc::new(lost)));
            let connection = tokio::select! {
                connection = self.reconnect() => connection,
                _ = stopped.wait_for(|stop| *stop) => return self.end(),
            };
            session = Session { number: session.number + 1, connection: Arc::new(connection) };
            self.state.send_replace(State::Up(session.clone()));
            tracing::info!(
                broker = self.target.broker(),
                purpose = self.purpose,
                "connection is back"
            );
            self.events.send(Event::Recovered);
        }
    }

    fn end(&self) {
        self.state.send_replace(State::Closed);
    }

    /// Passes on what the broker says, until the connection is lost.
    async fn watch_over(&mut self, session: &Session) -> Error {
        let mut events = std::pin::pin!(session.connection.events_listener());
        while session.is_up() {
            // Looks again now and then: an error may be told before the connection shows it.
            let Ok(event) = timeout(GLANCE, events.next()).await else { continue };
            match event {
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    self.events.send(Event::Blocked { reason });
                    self.state.send_modify(|_| {});
                }
                Some(lapin::Event::ConnectionUnblocked) => {
                    self.events.send(Event::Unblocked);
                    self.state.send_modify(|_| {});
                }
                // An error of a channel comes here too, and leaves the connection up.
                Some(lapin::Event::Error(error)) if !session.is_up() => {
                    return error::native(&error);
                }
                Some(_) => {}
                None => break,
            }
        }
        Error::new(ErrorKind::Disconnected, "the connection was closed")
    }

    async fn reconnect(&mut self) -> Connection {
        let mut delays = backoff();
        loop {
            let far = Instant::now() + ATTEMPT;
            let error = match attempt(&self.target, self.purpose, far).await {
                Ok(connection) => return connection,
                Err(error) => error,
            };
            if matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::PermissionDenied) {
                self.events.send(Event::AuthFailed { reason: error.to_string() });
            }
            self.state.send_replace(State::Down(Arc::new(error)));
            sleep(delays.next().unwrap_or(Duration::from_secs(5))).await;
        }
    }
}
