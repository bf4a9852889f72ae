//! What was fetched from one partition and is not known to be done, in the order of the log.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// One fetched record.
#[derive(Debug)]
pub(crate) struct Record<T> {
    pub(crate) offset: i64,
    /// Not to be handed out before this moment, in milliseconds of the epoch; 0 for at once.
    pub(crate) release: u64,
    /// What it takes in memory, about.
    pub(crate) bytes: usize,
    /// `None` for what nobody is to see: it is done.
    pub(crate) item: Option<T>,
}

/// The records of one partition, from the first that is not done.
///
/// Offsets have gaps, where records were compacted away or only mark a transaction: nothing here computes
/// an offset from another one, but for "after this record".
#[derive(Debug)]
pub(super) struct Track<T> {
    entries: VecDeque<Entry<T>>,
    /// The sequence number of the first entry.
    front: u64,
    /// What is buffered: by its release, then by its place in the log.
    ready: BinaryHeap<Reverse<(u64, u64)>>,
    /// Bytes of what is buffered.
    bytes: usize,
    in_hand: usize,
    /// Done, behind something that is not.
    stranded: usize,
    position: i64,
    next: i64,
}

#[derive(Debug)]
struct Entry<T> {
    offset: i64,
    release: u64,
    bytes: usize,
    again: bool,
    stage: Stage<T>,
}

#[derive(Debug)]
enum Stage<T> {
    Buffered(T),
    InHand(T, u32),
    Done,
}

/// One record on its way out.
#[derive(Debug)]
pub(super) struct HandOut<T> {
    pub(super) item: T,
    pub(super) offset: i64,
    pub(super) sequence: u64,
    /// It was handed out before and released.
    pub(super) again: bool,
}

impl<T: Clone> Track<T> {
    /// Nothing yet, of a partition that is read from `start`.
    pub(super) fn new(start: i64) -> Self {
        Self {
            entries: VecDeque::new(),
            front: 0,
            ready: BinaryHeap::new(),
            bytes: 0,
            in_hand: 0,
            stranded: 0,
            position: start,
            next: start,
        }
    }

    /// Takes in a record; says how many are newly done. One that is here already, or was, is left out.
    pub(super) fn push(&mut self, record: Record<T>) -> usize {
        let Record { offset, release, bytes, item } = record;
        if offset < self.next {
            return 0;
        }
        self.next = offset + 1;
        let stage = match item {
            Some(item) => {
                self.ready.push(Reverse((release, self.front + self.entries.len() as u64)));
                self.bytes += bytes;
                Stage::Buffered(item)
            }
            None => {
                self.stranded += 1;
                Stage::Done
            }
        };
        self.entries.push_back(Entry { offset, release, bytes, again: false, stage });
        self.advance()
    }

    /// Hands out what is due first, under this generation.
    pub(super) fn hand_out(&mut self, now: u64, generation: u32) -> Option<HandOut<T>> {
        let Reverse((release, sequence)) = *self.ready.peek()?;
        if release > now {
            return None;
        }
        self.ready.pop();
        let entry = self.entries.get_mut(usize::try_from(sequence - self.front).ok()?)?;
        let Stage::Buffered(item) = std::mem::replace(&mut entry.stage, Stage::Done) else {
            return None;
        };
        entry.stage = Stage::InHand(item.clone(), generation);
        self.in_hand += 1;
        self.bytes -= entry.bytes;
        Some(HandOut { item, offset: entry.offset, sequence, again: entry.again })
    }

    /// Whether this hand-out is still in hand.
    pub(super) fn is_in_hand(&self, sequence: u64, generation: u32) -> bool {
        let entry = self.index(sequence).and_then(|index| self.entries.get(index));
        entry.is_some_and(|e| matches!(e.stage, Stage::InHand(_, g) if g == generation))
    }

    /// Ends a hand-out for good; says how many records are newly done, or `None` when it isn't in hand.
    pub(super) fn ack(&mut self, sequence: u64, generation: u32) -> Option<usize> {
        let entry = self.entry_in_hand(sequence, generation)?;
        entry.stage = Stage::Done;
        self.in_hand -= 1;
        self.stranded += 1;
        Some(self.advance())
    }

    /// Takes a hand-out back, to hand it out again in its place; `None` when it isn't in hand.
    pub(super) fn release(&mut self, sequence: u64, generation: u32) -> Option<()> {
        let entry = self.entry_in_hand(sequence, generation)?;
        let stage = std::mem::replace(&mut entry.stage, Stage::Done);
        if let Stage::InHand(item, _) = stage {
            entry.stage = Stage::Buffered(item);
        }
        entry.again = true;
        let (release, bytes) = (entry.release, entry.bytes);
        self.ready.push(Reverse((release, sequence)));
        self.bytes += bytes;
        self.in_hand -= 1;
        Some(())
    }

    /// Everything before this offset is done, and it is the greatest such offset.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// The offset to be fetched next.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// What comes is to be read from `offset` on, as what was there before has gone. Nothing else is
    /// forgotten.
    pub(super) fn go_on_at(&mut self, offset: i64) {
        self.next = offset;
    }

    /// When the first of what is buffered is due.
    pub(super) fn next_release(&self) -> Option<u64> {
        self.ready.peek().map(|Reverse((release, _))| *release)
    }

    /// The first record that is not done is buffered, and held up others that are.
    pub(super) fn is_held_up_by_buffered(&self) -> bool {
        let first = self.entries.front();
        self.stranded > 0 && first.is_some_and(|entry| matches!(entry.stage, Stage::Buffered(_)))
    }

    /// The first record that is not done is in hand.
    pub(super) fn is_front_in_hand(&self) -> bool {
        self.entries.front().is_some_and(|entry| matches!(entry.stage, Stage::InHand(..)))
    }

    pub(super) fn in_hand(&self) -> usize {
        self.in_hand
    }

    pub(super) fn buffered(&self) -> usize {
        self.ready.len()
    }

    /// Bytes of what is buffered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many are done and behind something that is not.
    pub(super) fn stranded(&self) -> usize {
        self.stranded
    }

    /// Sequence number and generation of everything in hand, in the order of the log.
    pub(super) fn hand_outs(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let numbered = (self.front..).zip(&self.entries);
        numbered.filter_map(|(sequence, entry)| match entry.stage {
            Stage::InHand(_, generation) => Some((sequence, generation)),
            _ => None,
        })
    }

    fn index(&self, sequence: u64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.front)?).ok()
    }

    fn entry_in_hand(&mut self, sequence: u64, generation: u32) -> Option<&mut Entry<T>> {
        let index = self.index(sequence)?;
        let entry = self.entries.get_mut(index)?;
        matches!(entry.stage, Stage::InHand(_, g) if g == generation).then_some(entry)
    }

    fn advance(&mut self) -> usize {
        let mut done = 0;
        while let Some(Entry { offset, stage: Stage::Done, .. }) = self.entries.front() {
            self.position = offset + 1;
            self.entries.pop_front();
            self.front += 1;
            done += 1;
        }
        self.stranded -= done;
        done
    }
}

#[cfg(test)]
mod tests;
