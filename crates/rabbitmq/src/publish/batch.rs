//! One call to publish, and what is known of its messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polymq_core::Error;
use polymq_core::broker::{Outcome, Send};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::route::Route;

/// A message with its place in the call.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) index: usize,
    pub(super) send: Send,
    pub(super) route: Route,
    /// How often an AMQP channel ended over something that could not be laid at any message's door.
    pub(super) suspicions: u8,
    /// It was written before, and nobody knows what became of that.
    pub(super) in_doubt: bool,
}

impl Item {
    pub(super) fn new(index: usize, send: Send, route: Route) -> Self {
        Self { index, send, route, suspicions: 0, in_doubt: false }
    }

    /// The length of the payload.
    pub(super) fn bytes(&self) -> usize {
        self.send.message.payload().map_or(0, bytes::Bytes::len)
    }

    /// What is known of the message when this is known of its last writing.
    pub(super) fn all_told(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Rejected(error) if self.in_doubt => Outcome::Unconfirmed(error),
            outcome => outcome,
        }
    }
}

/// Messages of one call on their way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) items: Vec<Item>,
    pub(super) batch: Arc<Batch>,
}

/// What is known of a call's messages. It is over at the call's deadline, also when nobody waits for it
/// any more: from then on nothing of it is written, so that *rejected* stays true.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) deadline: Instant,
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
    pub(super) fn new(count: usize, deadline: Instant) -> Self {
        let known = std::iter::repeat_with(|| Slot::Waiting).take(count).collect();
        let slots = Slots { known, open: count, ended: false };
        Self { deadline, slots: Mutex::new(slots), finished: Notify::new() }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing of it is to be written any more.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended(&self.slots())
    }

    fn has_ended(&self, slots: &Slots) -> bool {
        slots.ended || Instant::now() >= self.deadline
    }

    /// Notes that these are about to be written. `false`: the call is over, write nothing.
    pub(super) fn begin(&self, items: &[Item]) -> bool {
        let mut slots = self.slots();
        if self.has_ended(&slots) {
            return false;
        }
        for item in items {
            slots.known[item.index] = Slot::Written;
        }
        true
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
    use std::time::Duration;

    use polymq_core::broker::{Confirmation, Destination};
    use polymq_core::{ChannelName, Message};

    use super::*;
    use crate::error;

    fn item(index: usize) -> Item {
        let channel = Destination::Channel(ChannelName::new("orders").unwrap());
        let route = Route { exchange: "x".into(), key: "".into() };
        Item::new(index, Send::new(channel, Message::new("x")), route)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_was_never_written_is_rejected_and_what_was_is_unconfirmed() {
        let batch = Batch::new(3, later());
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
        let batch = Batch::new(1, later());
        batch.end(|| error::late("late"));
        assert!(!batch.begin(&[item(0)]));
        batch.resolve([(0, Outcome::Confirmed(Confirmation::default()))].into_iter());
    }

    #[tokio::test]
    async fn a_call_is_finished_with_its_last_outcome() {
        let batch = Batch::new(1, later());
        batch.resolve([(0, Outcome::Confirmed(Confirmation::default()))].into_iter());
        batch.finished().await;
        Batch::new(0, later()).finished().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_over_at_its_deadline_even_if_nobody_waits_for_it() {
        let batch = Batch::new(1, later());
        assert!(!batch.is_over());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(batch.is_over() && !batch.begin(&[item(0)]));
    }

    #[test]
    fn what_may_lie_there_from_an_earlier_writing_is_not_rejected_by_a_later_one() {
        let mut item = item(0);
        let full = || Outcome::Rejected(error::full(&item.send.destination));
        assert!(matches!(item.all_told(full()), Outcome::Rejected(_)));
        let rejected = full();
        item.in_doubt = true;
        assert!(matches!(item.all_told(rejected), Outcome::Unconfirmed(_)));
    }
}
