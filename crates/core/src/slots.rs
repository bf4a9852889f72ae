use std::task::Waker;

use slab::Slab;
use tokio::time::Instant;

/// Where tasks wait for the answer to what they put into a batch: reused, so that waiting allocates
/// nothing.
#[derive(Debug)]
pub(crate) struct Slots<T>(Slab<Slot<T>>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Slab::new())
    }
}

#[derive(Debug)]
enum Slot<T> {
    Waiting {
        waker: Option<Waker>,
        sent: bool,
        until: Option<Instant>,
    },
    Done(T),
    /// The answer was taken; the slot stays its owner's until it is closed.
    Taken,
    /// Nobody waits any more; whoever comes across it frees it.
    Abandoned,
}

impl<T> Slots<T> {
    pub(crate) fn open(&mut self) -> usize {
        self.0.insert(Slot::Waiting { waker: None, sent: false, until: None })
    }

    /// A slot that is [late](Self::is_late) from this moment on.
    pub(crate) fn open_until(&mut self, until: Instant) -> usize {
        self.0.insert(Slot::Waiting { waker: None, sent: false, until: Some(until) })
    }

    /// Whether the answer has not come in time.
    pub(crate) fn is_late(&self, slot: usize, now: Instant) -> bool {
        matches!(self.0.get(slot), Some(Slot::Waiting { until: Some(until), .. }) if *until <= now)
    }

    /// Whom to wake because their slots are late, and when the next one will be.
    pub(crate) fn late(&mut self, now: Instant) -> (Vec<Waker>, Option<Instant>) {
        let (mut wakers, mut next) = (Vec::new(), None);
        for (_, slot) in &mut self.0 {
            match slot {
                Slot::Waiting { waker, until: Some(until), .. } if *until <= now => {
                    wakers.extend(waker.take());
                }
                Slot::Waiting { until: Some(until), .. } => {
                    next = Some(next.map_or(*until, |next| Instant::min(next, *until)));
                }
                _ => {}
            }
        }
        (wakers, next)
    }

    /// Marks a slot's item as sent. `false`: abandoned, and now free.
    pub(crate) fn sending(&mut self, slot: usize) -> bool {
        match self.0.get_mut(slot) {
            Some(Slot::Waiting { sent, .. }) => {
                *sent = true;
                true
            }
            Some(Slot::Abandoned) => {
                self.0.remove(slot);
                false
            }
            // Answered by `complete_all`, and its owner's until closed.
            _ => false,
        }
    }

    /// Whether the item of a waiting slot was sent.
    pub(crate) fn was_sent(&self, slot: usize) -> bool {
        !matches!(self.0.get(slot), Some(Slot::Waiting { sent: false, .. }))
    }

    /// Records an answer and returns whom to wake.
    pub(crate) fn complete(&mut self, slot: usize, answer: T) -> Option<Waker> {
        match self.0.get_mut(slot)? {
            entry @ Slot::Waiting { .. } => match std::mem::replace(entry, Slot::Done(answer)) {
                Slot::Waiting { waker, .. } => waker,
                _ => None,
            },
            Slot::Abandoned => {
                self.0.remove(slot);
                None
            }
            // Answered by `complete_all`, and its owner's until closed.
            _ => None,
        }
    }

    /// Takes the answer, or leaves a waker. The slot stays taken until [`close`](Self::close): a key
    /// that was free between the two could already be another task's when it is closed.
    pub(crate) fn poll(&mut self, slot: usize, waker: &Waker) -> Option<T> {
        let entry = self.0.get_mut(slot)?;
        if let Slot::Waiting { waker: place, .. } = entry {
            if !place.as_ref().is_some_and(|w| w.will_wake(waker)) {
                *place = Some(waker.clone());
            }
            return None;
        }
        match std::mem::replace(entry, Slot::Taken) {
            Slot::Done(answer) => Some(answer),
            _ => None,
        }
    }

    /// Ends the owner's interest: frees the slot, or leaves that to whoever holds its item.
    pub(crate) fn close(&mut self, slot: usize) {
        match self.0.get_mut(slot) {
            Some(entry @ Slot::Waiting { .. }) => *entry = Slot::Abandoned,
            _ => {
                self.0.try_remove(slot);
            }
        }
    }

    /// Answers everyone who waits, as nobody else will; `answer` is told whether the item was sent.
    pub(crate) fn complete_all(&mut self, answer: impl Fn(bool) -> T) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (_, slot) in &mut self.0 {
            if let Slot::Waiting { waker, sent, .. } = slot {
                wakers.extend(waker.take());
                *slot = Slot::Done(answer(*sent));
            }
        }
        wakers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_its_owners_until_it_is_closed() {
        let mut slots = Slots::default();
        let first = slots.open();
        assert!(slots.complete(first, 1).is_none());
        assert_eq!(slots.poll(first, Waker::noop()), Some(1));
        let second = slots.open();
        slots.close(first);
        slots.complete(second, 2);
        assert_eq!(slots.poll(second, Waker::noop()), Some(2));
        slots.close(second);
        assert!(slots.0.is_empty());
    }

    #[test]
    fn a_slot_is_late_once_its_moment_has_come_without_an_answer() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        let later = now + std::time::Duration::from_secs(1);
        let [soon, answered, then, _never] =
            [slots.open_until(now), slots.open_until(now), slots.open_until(later), slots.open()];
        for slot in [soon, answered, then] {
            assert_eq!(slots.poll(slot, Waker::noop()), None);
        }
        slots.complete(answered, 1);
        let (wakers, next) = slots.late(now);
        assert_eq!((wakers.len(), next), (1, Some(later)));
        assert!(slots.is_late(soon, now) && !slots.is_late(answered, now));
        assert!(!slots.is_late(then, now) && slots.is_late(then, later));
    }

    #[test]
    fn an_answer_stays_when_a_second_one_comes() {
        let mut slots = Slots::default();
        let slot = slots.open();
        slots.complete_all(|_| 1);
        assert!(slots.complete(slot, 2).is_none());
        assert!(!slots.sending(slot));
        assert_eq!(slots.poll(slot, Waker::noop()), Some(1));
        slots.close(slot);
        assert!(slots.0.is_empty());
    }

    #[test]
    fn a_slot_closed_while_its_item_is_under_way_is_freed_by_the_answer() {
        let mut slots = Slots::default();
        let slot = slots.open();
        slots.close(slot);
        assert!(!slots.0.is_empty());
        assert!(slots.complete(slot, 1).is_none());
        assert!(slots.0.is_empty());
    }
}
