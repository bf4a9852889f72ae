//! One call to publish, and what is known of its messages.

use std::sync::{Mutex, MutexGuard, PoisonError};

use polymq_core::Error;
use polymq_core::broker::{Outcome, Send};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A call is over at its deadline, also when nobody waits for it any more: from then on nothing of it is
/// given to librdkafka, so that *rejected* stays true.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) sends: Vec<Send>,
    /// Tells this call's sends from those of others, for [`Send::native_id`].
    pub(super) nonce: u64,
    deadline: Instant,
    state: Mutex<State>,
    finished: Notify,
}

#[derive(Debug)]
struct State {
    known: Vec<Option<Outcome>>,
    /// How many have none.
    open: usize,
    /// So many, from the first on, may be with librdkafka.
    handed: usize,
    ended: bool,
}

impl Call {
    pub(super) fn new(sends: Vec<Send>, deadline: Instant) -> Self {
        let count = sends.len();
        let known = std::iter::repeat_with(|| None).take(count).collect();
        Self {
            sends,
            nonce: rand::random(),
            deadline,
            state: Mutex::new(State { known, open: count, handed: 0, ended: false }),
            finished: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing of it is to be sent any more.
    pub(super) fn is_over(&self) -> bool {
        self.state().ended || Instant::now() >= self.deadline
    }

    /// Notes that the first `count` may be with librdkafka, and the others are not.
    pub(super) fn hand(&self, count: usize) {
        self.state().handed = count;
    }

    /// Notes what became of a message.
    pub(super) fn resolve(&self, index: usize, outcome: Outcome) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        state.known[index] = Some(outcome);
        state.open -= 1;
        if state.open == 0 {
            self.finished.notify_one();
        }
    }

    /// Waits until every message has its outcome.
    pub(super) async fn finished(&self) {
        let open = self.state().open;
        if open > 0 {
            self.finished.notified().await;
        }
    }

    /// Ends the call: `why` is the error of what has no outcome.
    pub(super) fn end(&self, why: impl Fn(&Send) -> Error) -> Vec<Outcome> {
        let mut state = self.state();
        state.ended = true;
        let handed = state.handed;
        let known = std::mem::take(&mut state.known);
        drop(state);
        let outcome = |(index, known): (usize, Option<Outcome>)| match known {
            Some(outcome) => outcome,
            None if index < handed => Outcome::Unconfirmed(why(&self.sends[index])),
            None => Outcome::Rejected(why(&self.sends[index])),
        };
        known.into_iter().enumerate().map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polymq_core::broker::{Confirmation, Destination};
    use polymq_core::{ChannelName, Message};

    use super::*;
    use crate::error;

    fn call(count: usize) -> Call {
        let to = Destination::Channel(ChannelName::new("orders").unwrap());
        let sends = (0..count).map(|_| Send::new(to.clone(), Message::new("x"))).collect();
        Call::new(sends, Instant::now() + Duration::from_secs(60))
    }

    fn confirmed() -> Outcome {
        Outcome::Confirmed(Confirmation::default())
    }

    #[test]
    fn what_was_never_handed_over_is_rejected_and_what_was_is_unconfirmed() {
        let call = call(3);
        call.hand(2);
        call.resolve(0, confirmed());
        let outcomes = call.end(|_| error::late("late"));
        assert!(matches!(
            outcomes.as_slice(),
            [Outcome::Confirmed(_), Outcome::Unconfirmed(_), Outcome::Rejected(_)]
        ));
    }

    #[test]
    fn a_report_after_its_end_changes_nothing() {
        let call = call(1);
        call.hand(1);
        call.end(|_| error::late("late"));
        call.resolve(0, confirmed());
        assert!(call.is_over());
    }

    #[tokio::test]
    async fn a_call_is_finished_with_its_last_outcome() {
        let one = call(1);
        one.resolve(0, confirmed());
        one.finished().await;
        call(0).finished().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_over_at_its_deadline_even_if_nobody_waits_for_it() {
        let call = call(1);
        assert!(!call.is_over());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(call.is_over());
    }
}
