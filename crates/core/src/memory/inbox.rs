use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

use super::log::{Log, Record};
use crate::model::{Message, Timestamp};

/// When a message of a retry inbox is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// What the send asked for.
    pub(super) at: Option<Timestamp>,
    /// When it is handed out: the same moment, or the ceiling on delays.
    pub(super) instant: Instant,
}

/// A group's retry inbox: messages by the moment at which they are due, then by arrival.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) log: Log<Due>,
    /// What waits. A message that was removed leaves its entry until it comes up.
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Inbox {
    /// Stores a message; says whether it is now the first to become due.
    pub(super) fn push(&mut self, message: Message, cost: u64, due: Due) -> (u64, bool) {
        let first = self.next_due().is_none_or(|next| due.instant < next);
        let seq = self.log.push(Record { message, cost, extra: due });
        self.queue.push(Reverse((due.instant, seq)));
        (seq, first)
    }

    /// When the next message is due.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        while let Some(Reverse((due, seq))) = self.queue.peek() {
            if self.log.get(*seq).is_some() {
                return Some(*due);
            }
            self.queue.pop();
        }
        None
    }

    /// Takes the next message that is due by `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        if self.next_due()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse((_, seq))| seq)
    }

    /// A message in hand goes back to its place.
    pub(super) fn give_back(&mut self, seq: u64) {
        if let Some(record) = self.log.get(seq) {
            self.queue.push(Reverse((record.extra.instant, seq)));
        }
    }

    /// What waits, in no order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u64, Instant)> {
        self.queue
            .iter()
            .map(|Reverse((due, seq))| (*seq, *due))
            .filter(|(seq, _)| self.log.get(*seq).is_some())
    }
}
