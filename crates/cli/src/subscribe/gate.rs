use std::io;
use std::sync::Arc;

use polymq::HandlerError;
use tokio::sync::watch;

/// Which messages are still to be handled: `--count` of them, and none once stdout has failed.
///
/// A handler that is refused waits until intake is paused and then gives its message back, so that
/// exactly as many are handled as were asked for, however many handlers run at once.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<watch::Sender<State>>);

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// How many messages may still enter; `None`: any number.
    free: Option<u64>,
    /// How many of a number have entered and not ended.
    inside: u64,
    /// Why nothing can be written any more.
    failed: Option<io::ErrorKind>,
    /// Intake is paused: what is given back does not come again at once.
    paused: bool,
}

impl State {
    /// Whether nothing more is to be taken in.
    pub(super) fn is_shut(self) -> bool {
        self.free == Some(0) || self.failed.is_some()
    }

    /// Whether everything that was to be handled has been, or nothing can be.
    pub(super) fn is_over(self) -> bool {
        self.is_shut() && (self.inside == 0 || self.failed.is_some())
    }

    pub(super) fn is_paused(self) -> bool {
        self.paused
    }

    pub(super) fn failure(self) -> Option<io::ErrorKind> {
        self.failed
    }
}

/// The right to handle one message. Dropping it lets another message in instead.
#[derive(Debug)]
pub(super) struct Ticket<'a>(Option<&'a Gate>);

impl Gate {
    pub(super) fn new(count: Option<u64>) -> Self {
        let state = State { free: count, inside: 0, failed: None, paused: false };
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// # Errors
    /// A release when nothing more is to be handled.
    pub(super) async fn enter(&self) -> Result<Ticket<'_>, HandlerError> {
        let state = *self.0.borrow();
        if state.free.is_none() && !state.is_shut() {
            return Ok(Ticket(None));
        }
        let entered = self.0.send_if_modified(|state| match state.free {
            Some(free) if !state.is_shut() => {
                (state.free, state.inside) = (Some(free - 1), state.inside + 1);
                true
            }
            _ => false,
        });
        match entered {
            true => Ok(Ticket(Some(self))),
            false => Err(self.refuse().await),
        }
    }

    /// Waits until intake is paused, and gives the message back.
    pub(super) async fn refuse(&self) -> HandlerError {
        let mut state = self.0.subscribe();
        // The sender lives here, so this ends only when it holds.
        let _ = state.wait_for(|state| state.paused).await;
        HandlerError::release("nothing more is to be handled")
    }

    /// Nothing can be written any more.
    pub(super) fn fail(&self, error: io::ErrorKind) {
        self.0.send_modify(|state| state.failed = state.failed.or(Some(error)));
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.0.send_modify(|state| state.paused = paused);
    }

    /// Follows the gate, from how it stands now: handlers run before anybody looks.
    pub(super) fn watch(&self) -> watch::Receiver<State> {
        let mut receiver = self.0.subscribe();
        receiver.mark_changed();
        receiver
    }
}

impl Ticket<'_> {
    /// The message has come to its end.
    pub(super) fn used(mut self) {
        if let Some(gate) = self.0.take() {
            gate.0.send_modify(|state| state.inside -= 1);
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.0.send_modify(|state| {
                state.inside -= 1;
                state.free = state.free.map(|free| free + 1);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_enter_as_were_asked_for_and_a_failure_lets_another_in() {
        let gate = Gate::new(Some(2));
        let state = || *gate.watch().borrow();
        let (a, b) = (gate.enter().await.unwrap(), gate.enter().await.unwrap());
        assert!(state().is_shut() && !state().is_over());
        gate.set_paused(true);
        assert!(gate.enter().await.unwrap_err().is_release());
        drop(a);
        assert!(!state().is_shut());
        b.used();
        gate.enter().await.unwrap().used();
        assert!(state().is_over());
    }

    #[tokio::test]
    async fn nobody_enters_once_stdout_has_failed() {
        let gate = Gate::new(None);
        gate.enter().await.unwrap().used();
        gate.fail(io::ErrorKind::BrokenPipe);
        gate.set_paused(true);
        assert!(gate.enter().await.unwrap_err().is_release());
        assert_eq!(gate.watch().borrow().failure(), Some(io::ErrorKind::BrokenPipe));
    }
}
