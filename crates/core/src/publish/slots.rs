use std::task::Waker;

use slab::Slab;

use crate::broker::Outcome;

/// Where tasks wait for the outcome of the message that they queued: reused, so that waiting
/// allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Slots(Slab<Slot>);

#[derive(Debug)]
enum Slot {
    Waiting {
        waker: Option<Waker>,
        sent: bool,
    },
    Done(Outcome),
    /// Nobody waits any more; whoever comes across it frees it.
    Abandoned,
}

impl Slots {
    pub(super) fn open(&mut self) -> usize {
        self.0.insert(Slot::Waiting { waker: None, sent: false })
    }

    /// Marks a slot's message as handed to the broker. `false`: abandoned, and now free.
    pub(super) fn sending(&mut self, slot: usize) -> bool {
        match self.0.get_mut(slot) {
            Some(Slot::Waiting { sent, .. }) => {
                *sent = true;
                true
            }
            _ => {
                self.0.try_remove(slot);
                false
            }
        }
    }

    /// Whether the message of a waiting slot was handed to the broker.
    pub(super) fn was_sent(&self, slot: usize) -> bool {
        !matches!(self.0.get(slot), Some(Slot::Waiting { sent: false, .. }))
    }

    /// Records an outcome and returns whom to wake.
    pub(super) fn complete(&mut self, slot: usize, outcome: Outcome) -> Option<Waker> {
        match self.0.get_mut(slot)? {
            entry @ Slot::Waiting { .. } => match std::mem::replace(entry, Slot::Done(outcome)) {
                Slot::Waiting { waker, .. } => waker,
                _ => None,
            },
            _ => {
                self.0.try_remove(slot);
                None
            }
        }
    }

    /// Takes the outcome, or leaves a waker.
    pub(super) fn poll(&mut self, slot: usize, waker: &Waker) -> Option<Outcome> {
        match self.0.get_mut(slot)? {
            Slot::Waiting { waker: place, .. } => {
                if !place.as_ref().is_some_and(|w| w.will_wake(waker)) {
                    *place = Some(waker.clone());
                }
                None
            }
            _ => match self.0.try_remove(slot) {
                Some(Slot::Done(outcome)) => Some(outcome),
                _ => None,
            },
        }
    }

    pub(super) fn abandon(&mut self, slot: usize) {
        match self.0.get_mut(slot) {
            Some(entry @ Slot::Waiting { .. }) => *entry = Slot::Abandoned,
            _ => {
                self.0.try_remove(slot);
            }
        }
    }

    /// Nobody will complete anything any more: an error for everyone who waits.
    pub(super) fn fail_all(&mut self, error: impl Fn() -> crate::Error) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (_, slot) in &mut self.0 {
            if let Slot::Waiting { waker, sent } = slot {
                wakers.extend(waker.take());
                *slot = Slot::Done(if *sent {
                    Outcome::Unconfirmed(error())
                } else {
                    Outcome::Rejected(error())
                });
            }
        }
        wakers
    }
}
