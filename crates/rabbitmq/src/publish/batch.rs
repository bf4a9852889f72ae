//! One call to publish, and what is known of its messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polymq_core::Error;
use polymq_core::broker::{Outcome, Send};
use tokio::sync::Notify;

use super::route::Route;

/// A message with its place in the call.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) index: usize,
    pub(super) send: Send,
    pub(super) route: Route,
    /// How often an AMQP channel ended over something that could not be laid at any message's door.
    pub(super) suspicions: u8,
}

impl Item {
    pub(super) fn new(index: usize, send: Send, route: Route) -> Self {
        Self { index, send, route, suspicions: 0 }
    }
}

/// Messages of one call on their way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) items: Vec<Item>,
    pub(super) batch: Arc<Batch>,
}

/// What is known of a call's messages. The call ends it at its deadline: from then on nothing of it is
/// written any more, so that *rejected* stays true.
#[derive(Debug)]
pub(super) struct Batch {
    slots: Mutex<Slots>,
    finished: Notify,
}

#[derive(Debug)]
struct Slots {
    known: Vec<Slot>,
    open: usize,
    ended: bool,
}

#[derive(Debug)]
enum Slot {
    Waiting,
    Written,
    Known(Outcome),
}

impl Batch {
    /// A call with this many messages.
    pub(super) fn new(count: usize) -> Self {
        let known = std::iter::repeat_with(|| Slot::Waiting).take(count).collect();
        let slots = Slots { known, open: count, ended: false };
        Self { slots: Mutex::new(slots), finished: Notify::new() }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these are about to be written. `false`: the call has ended, write nothing.
    pub(super) fn begin(&self, items: &[Item]) -> bool {
        let mut slots = self.slots();
        if !slots.ended {
            for item in items {
                slots.known[item.index] = Slot::Written;
            }
        }
        !slots.ended
    }

    /// Notes what became of messages.
    pub(super) fn resolve(&self, outcomes: impl Iterator<Item = (usize, Outcome)>) {
        let mut slots = self.slots();
        if slots.ended {
            return;
        }
        for (index, outcome) in outcomes {
            slots.known[index] = Slot::Known(outcome);
            slots.open -= 1;
        }
        if slots.open == 0 {
            self.finished.notify_one();
        }
    }

    /// Waits until every message has its outcome.
    pub(super) async fn finished(&self) {
        let open = self.slots().open;
        if open > 0 {
            self.finished.notified().await;
        }
    }

    /// Ends the call: `why` is the error of what has no outcome.
    pub(super) fn end(&self, why: impl Fn() -> Error) -> Vec<Outcome> {
        let mut slots = self.slots();
        slots.ended = true;
        let known = std::mem::take(&mut slots.known);
        known
            .into_iter()
            .map(|slot| match slot {
                Slot::Known(outcome) => outcome,
                Slot::Written => Outcome::Unconfirmed(why()),
                Slot::Waiting => Outcome::Rejected(why()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use polymq_core::broker::{Confirmation, Destination};
    use polymq_core::{ChannelName, Message};

    use super::*;
    use crate::error;

    fn item(index: usize) -> Item {
        let channel = Destination::Channel(ChannelName::new("orders").unwrap());
        let route = Route { exchange: "x".into(), key: "".into() };
        Item::new(index, Send::new(channel, Message::new("x")), route)
    }

    #[test]
    fn what_was_never_written_is_rejected_and_what_was_is_unconfirmed() {
        let batch = Batch::new(3);
        assert!(batch.begin(&[item(0), item(1)]));
        batch.resolve([(0, Outcome::Confirmed(Confirmation::default()))].into_iter());
        let outcomes = batch.end(|| error::late("late"));
        assert!(matches!(
            outcomes.as_slice(),
            [Outcome::Confirmed(_), Outcome::Unconfirmed(_), Outcome::Rejected(_)]
        ));
    }

    #[test]
    fn after_its_end_nothing_of_a_call_is_written() {
        let batch = Batch::new(1);
        batch.end(|| error::late("late"));
        assert!(!batch.begin(&[item(0)]));
        batch.resolve([(0, Outcome::Confirmed(Confirmation::default()))].into_iter());
    }

    #[tokio::test]
    async fn a_call_is_finished_with_its_last_outcome() {
        let batch = Batch::new(1);
        batch.resolve([(0, Outcome::Confirmed(Confirmation::default()))].into_iter());
        batch.finished().await;
        Batch::new(0).finished().await;
    }
}
