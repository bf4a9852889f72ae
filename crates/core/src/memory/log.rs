use std::collections::VecDeque;

use crate::model::Message;

/// Below this many slots holes are not worth closing.
const WORTH_COMPACTING: usize = 1024;

/// One stored message.
#[derive(Debug)]
pub(super) struct Record<X> {
    pub(super) message: Message,
    /// What it counts against the limits, in bytes.
    pub(super) cost: u64,
    pub(super) extra: X,
}

#[derive(Debug)]
struct Slot<X> {
    seq: u64,
    record: Option<Record<X>>,
}

/// Messages by sequence number: appended at the back, removed anywhere.
///
/// A removed message leaves a hole. Holes vanish when they reach the front, and are closed when
/// they make up three quarters, so one message that stays for ever doesn't keep the slots of all
/// that pass it. While nothing was closed, a sequence number is an index.
#[derive(Debug)]
pub(super) struct Log<X> {
    slots: VecDeque<Slot<X>>,
    next: u64,
    live: usize,
}

impl<X> Default for Log<X> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), next: 0, live: 0 }
    }
}

impl<X> Log<X> {
    pub(super) fn push(&mut self, record: Record<X>) -> u64 {
        let seq = self.skip();
        self.slots.push_back(Slot { seq, record: Some(record) });
        self.live += 1;
        seq
    }

    /// Uses up a sequence number without storing anything.
    pub(super) fn skip(&mut self) -> u64 {
        let seq = self.next;
        self.next += 1;
        seq
    }

    /// The sequence number of the next message.
    pub(super) fn next_seq(&self) -> u64 {
        self.next
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// The index of `seq`, or of the first slot after it.
    fn index(&self, seq: u64) -> usize {
        let Some(front) = self.slots.front() else {
            return 0;
        };
        let Some(ahead) = seq.checked_sub(front.seq) else {
            return 0;
        };
        let guess = usize::try_from(ahead).unwrap_or(usize::MAX);
        match self.slots.get(guess) {
            Some(slot) if slot.seq == seq => guess,
            _ => self.slots.partition_point(|slot| slot.seq < seq),
        }
    }

    fn slot(&mut self, seq: u64) -> Option<&mut Slot<X>> {
        let index = self.index(seq);
        self.slots.get_mut(index).filter(|slot| slot.seq == seq)
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Record<X>> {
        let slot = self.slots.get(self.index(seq))?;
        slot.record.as_ref().filter(|_| slot.seq == seq)
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Record<X>> {
        self.slot(seq)?.record.as_mut()
    }

    /// The messages at and after `seq`, in order.
    pub(super) fn iter_from(&self, seq: u64) -> impl Iterator<Item = (u64, &Record<X>)> {
        self.slots
            .range(self.index(seq)..)
            .filter_map(|slot| Some((slot.seq, slot.record.as_ref()?)))
    }

    /// The same, to change.
    pub(super) fn iter_mut_from(
        &mut self,
        seq: u64,
    ) -> impl Iterator<Item = (u64, &mut Record<X>)> {
        let index = self.index(seq);
        self.slots.range_mut(index..).filter_map(|slot| Some((slot.seq, slot.record.as_mut()?)))
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Record<X>> {
        let removed = self.slot(seq)?.record.take()?;
        self.live -= 1;
        while self.slots.front().is_some_and(|s| s.record.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.len() > WORTH_COMPACTING && self.live < self.slots.len() / 4 {
            self.slots.retain(|slot| slot.record.is_some());
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(len: u64) -> Log<()> {
        let mut log = Log::default();
        for n in 0..len {
            log.push(Record { message: Message::new(n.to_string()), cost: 1, extra: () });
        }
        log
    }

    #[test]
    fn a_message_that_stays_does_not_keep_the_slots_of_those_that_pass() {
        let mut log = log(100_000);
        for seq in 1..99_999 {
            assert!(log.remove(seq).is_some());
        }
        assert!(log.slots.len() <= WORTH_COMPACTING + 1);
        assert_eq!(log.iter_from(0).map(|(seq, _)| seq).collect::<Vec<_>>(), [0, 99_999]);
        assert!(log.get(99_999).is_some() && log.get(5).is_none() && log.remove(5).is_none());
    }

    #[test]
    fn sequence_numbers_go_on_after_everything_was_removed() {
        let mut log = log(2);
        log.remove(0);
        log.remove(1);
        assert_eq!((log.len(), log.next_seq(), log.iter_from(0).count()), (0, 2, 0));
        assert!(log.remove(1).is_none());
    }
}
