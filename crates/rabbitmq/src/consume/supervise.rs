use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::types::ShortString;
use polymq_core::ErrorKind;
use polymq_core::broker::{Event, EventSender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::claims::Claims;
use super::lane::GivenUp;
use super::plan::{self, Refusal, Wanted};
use super::state::{Order, Shared};
use crate::link::{self, Session, State};

/// The longest that closing a channel or attaching may take before it is tried again.
const ATTEMPT: Duration = Duration::from_secs(30);

/// The longest wait between attempts to attach: a queue that was made again is consumed again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long the broker gets to finish what made it end a subscription: consuming from a queue that is
/// just being deleted ends the connection.
const RETREAT: Duration = Duration::from_millis(200);

/// Keeps a consumer attached: one task for each consumer, which sleeps unless something is wrong, or
/// partitions are to be shared.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) link: watch::Receiver<State>,
    /// Consumed as long as the consumer lives.
    pub(super) base: Vec<Wanted>,
    /// The partitions of an ordered channel.
    pub(super) claims: Option<Claims>,
    pub(super) events: EventSender,
    pub(super) broker_events: EventSender,
    pub(super) name: String,
    /// The missing queue that was told of.
    pub(super) told: Option<ShortString>,
}

/// What there is to do.
enum Task {
    /// The connection is gone.
    Reconnect(String),
    /// A lane has ended.
    Renew(GivenUp),
    /// It is time to look at how the partitions are shared.
    Share,
}

impl Supervisor {
    /// Runs until the link is closed; `session` is the one that the consumer is attached to.
    pub(super) async fn run(mut self, mut session: Session) {
        loop {
            match self.next_task(&session).await {
                Task::Reconnect(reason) => {
                    self.events.send(Event::Disconnected { reason });
                    let all = self.shared.give_up(|_| true);
                    self.close(all).await;
                    let Some(next) = self.attach().await else { return };
                    session = next;
                    self.share(&session).await;
                    self.events.send(Event::Recovered);
                }
                Task::Renew(lane) => {
                    let Some(next) = self.renew(lane, session).await else { return };
                    session = next;
                }
                Task::Share => self.share(&session).await,
            }
        }
    }

    async fn next_task(&mut self, session: &Session) -> Task {
        loop {
            if let Some(reason) = gone(&self.link.borrow_and_update(), session) {
                return Task::Reconnect(reason);
            }
            let end = match self.shared.lock().order() {
                Order::Renew(lane) => return Task::Renew(lane),
                Order::Wait(end) => end,
            };
            tokio::select! {
                changed = self.link.changed() => if changed.is_err() {
                    return Task::Reconnect("the connection was closed".to_owned());
                },
                () = self.shared.supervisor.notified() => {}
                () = at(end) => {}
                () = at(self.claims.as_ref().map(Claims::next_turn)) => return Task::Share,
            }
        }
    }

    /// Attaches to what a lane was for; `None` when there will be no connection any more.
    async fn renew(&mut self, mut lane: GivenUp, session: Session) -> Option<Session> {
        let (partition, reason) = (lane.partition, lane.reason.take());
        match &reason {
            Some(reason) => tracing::warn!(
                consumer = self.name,
                reason,
                "the broker ended the subscription; attaching again"
            ),
            None => tracing::debug!(
                consumer = self.name,
                partition,
                "giving everything back, so that it comes again in order"
            ),
        }
        self.close(vec![lane]).await;
        if reason.is_some() {
            sleep(RETREAT).await;
        }
        let next = match (partition, &mut self.claims) {
            (Some(partition), Some(claims)) => {
                let deadline = Instant::now() + ATTEMPT;
                let claimed = claims.claim_again(partition, &session, deadline).await;
                self.note(claimed, &session);
                session
            }
            _ => {
                let next = self.attach().await?;
                let earlier = |number| number != next.number;
                let stale = self.shared.give_up(|l| earlier(l.attachment.session.number));
                self.close(stale).await;
                next
            }
        };
        if let Some(reason) = reason {
            self.tell_all(&Event::Recreated { reason });
        }
        Some(next)
    }

    /// Shares the partitions with the other consumers of the group.
    async fn share(&mut self, session: &Session) {
        if let Some(claims) = &mut self.claims {
            let turn = claims.turn(session, Instant::now() + ATTEMPT).await;
            self.note(turn, session);
        }
    }

    /// Ends lanes; their tokens are told to be stale before anybody is handed what they stand for.
    async fn close(&self, mut lanes: Vec<GivenUp>) {
        let tokens: Vec<_> = lanes.iter_mut().flat_map(|lane| lane.tokens.drain(..)).collect();
        if !tokens.is_empty() {
            self.events.send(Event::LeaseLost { tokens });
        }
        let deadline = Instant::now() + ATTEMPT;
        // One that cannot be closed in time ends with its connection.
        join_all(lanes.iter().map(|lane| lane.close(deadline))).await;
    }

    /// Attaches, however long it takes; `None` when there will be no connection any more.
    async fn attach(&mut self) -> Option<Session> {
        let mut delays = link::backoff();
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
            let attached = plan::attach(&self.base, &session, deadline).await;
            match attached.map(|attached| self.shared.install(attached, None)) {
                Ok(()) => {
                    self.told = None;
                    return Some(session);
                }
                refused => self.note(refused, &session),
            }
            sleep(delays.next().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)).await;
        }
    }

    /// Tells what the broker refused. What fails with its connection is tried again anyway.
    fn note(&mut self, result: Result<(), Refusal>, session: &Session) {
        let Err(refusal) = result else { return };
        tracing::warn!(consumer = self.name, error = %refusal.error, "cannot attach; trying again");
        if !session.is_up() {
            return;
        }
        if refusal.missing.is_some() && refusal.missing != self.told {
            self.told.clone_from(&refusal.missing);
            let object = self.told.iter().map(ToString::to_string).collect();
            self.tell_all(&Event::TopologyLost { object });
        }
        if !refusal.error.is_retryable() {
            self.shared.fail(refusal.error);
        }
    }

    /// Tells whoever listens to the consumer or to the broker.
    fn tell_all(&self, event: &Event) {
        self.events.send(event.clone());
        self.broker_events.send(event.clone());
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Why the link no longer has this connection.
fn gone(state: &State, session: &Session) -> Option<String> {
    match state {
        State::Up(now) if now.number != session.number => {
            Some("the connection was replaced".to_owned())
        }
        State::Up(_) if session.is_up() => None,
        State::Down(reason) => Some(reason.to_string()),
        State::Up(_) | State::Closed => Some("the connection was closed".to_owned()),
    }
}
