use std::sync::Arc;
use std::time::Duration;

use polymq_core::ErrorKind;
use polymq_core::broker::{Event, EventSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::Plan;
use super::state::{Order, Reason, Shared};
use crate::link::{self, State};

/// The longest that closing a channel or attaching may take before it is tried again.
const ATTEMPT: Duration = Duration::from_secs(30);

/// The longest wait between attempts to attach: a queue that was made again is consumed again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long the broker gets to finish what made it end a subscription: consuming from a queue that is
/// just being deleted ends the connection.
const RETREAT: Duration = Duration::from_millis(200);

/// Keeps a consumer attached: one task for each consumer, which sleeps unless something is wrong.
pub(crate) struct Supervisor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: watch::Receiver<State>,
    pub(crate) plan: Plan,
    pub(crate) events: EventSender,
    pub(crate) broker_events: EventSender,
    /// The consumer's number, for its tokens.
    pub(crate) number: u32,
    pub(crate) name: String,
}

impl Supervisor {
    /// Runs until the link is closed; `session` is the one that the consumer is attached to.
    pub(crate) async fn run(mut self, mut session: u32) {
        loop {
            let reason = self.until_lost(session).await;
            self.detach(&reason).await;
            if matches!(reason, Reason::Lost(_)) {
                sleep(RETREAT).await;
            }
            let Some(number) = self.attach().await else { return };
            session = number;
            match reason {
                Reason::Disconnected(_) => self.events.send(Event::Recovered),
                Reason::Lost(reason) => self.tell_all(&Event::Recreated { reason }),
                Reason::Recall => {}
            }
        }
    }

    /// Tells whoever listens to the consumer or to the broker.
    fn tell_all(&self, event: &Event) {
        self.events.send(event.clone());
        self.broker_events.send(event.clone());
    }

    async fn until_lost(&mut self, session: u32) -> Reason {
        loop {
            if let Some(reason) = gone(&self.link.borrow_and_update(), session) {
                return Reason::Disconnected(reason);
            }
            let latest = match self.shared.lock().order() {
                Order::Renew(reason) => return reason,
                Order::Wait(latest) => latest,
            };
            let overdue = async {
                match latest {
                    Some(latest) => sleep_until(latest).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.link.changed() => if changed.is_err() {
                    return Reason::Disconnected("the connection was closed".to_owned());
                },
                () = self.shared.supervisor.notified() => {}
                () = overdue => {}
            }
        }
    }

    async fn detach(&self, reason: &Reason) {
        let mut given_up = self.shared.lock().detach(self.number);
        match reason {
            Reason::Disconnected(reason) => {
                self.events.send(Event::Disconnected { reason: reason.clone() });
            }
            Reason::Lost(reason) => {
                tracing::warn!(
                    consumer = self.name,
                    reason,
                    "the broker ended the subscription; attaching again"
                );
            }
            Reason::Recall => {
                tracing::debug!(
                    consumer = self.name,
                    "taking everything back, so that it comes again in order"
                );
            }
        }
        if !given_up.tokens.is_empty() {
            self.events.send(Event::LeaseLost { tokens: std::mem::take(&mut given_up.tokens) });
        }
        // One that cannot be closed in time ends with its connection.
        let _ = given_up.close(Instant::now() + ATTEMPT).await;
    }

    /// Attaches, however long it takes; `None` when there will be no connection any more.
    async fn attach(&mut self) -> Option<u32> {
        let mut delays = link::backoff();
        let mut told = None;
        loop {
            let deadline = Instant::now() + ATTEMPT;
            let session = match link::session(&mut self.link, deadline).await {
                Ok(session) => session,
                Err(error) if error.kind() == ErrorKind::Closed => {
                    self.shared.shut();
                    return None;
                }
                Err(error) => {
                    if matches!(
                        error.kind(),
                        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied
                    ) {
                        self.shared.fail(error);
                    }
                    continue;
                }
            };
            let refusal = match self.plan.attach(&session, deadline).await {
                Ok((attachment, sources)) => {
                    self.shared.install(attachment, sources);
                    return Some(session.number);
                }
                Err(refusal) => refusal,
            };
            tracing::warn!(consumer = self.name, error = %refusal.error, "cannot attach; trying again");
            if refusal.missing.is_some() && refusal.missing != told {
                told.clone_from(&refusal.missing);
                let object = told.iter().map(ToString::to_string).collect();
                self.tell_all(&Event::TopologyLost { object });
            }
            if !refusal.error.is_retryable() {
                self.shared.fail(refusal.error);
            }
            sleep(delays.next().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)).await;
        }
    }
}

/// Why the link no longer has the connection of this number.
fn gone(state: &State, number: u32) -> Option<String> {
    match state {
        State::Up(session) if session.number == number => None,
        State::Up(_) => Some("the connection was replaced".to_owned()),
        State::Down(reason) => Some(reason.to_string()),
        State::Closed => Some("the connection was closed".to_owned()),
    }
}
