use slab::Slab;
use tokio::time::Instant;

use crate::broker::Token;
use crate::model::Origin;

const NONE: usize = usize::MAX;

/// One delivery in somebody's hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Who has it.
    pub(super) member: usize,
    pub(super) token: Token,
    pub(super) origin: Origin,
    pub(super) seq: u64,
    /// The lane of its key, on an ordered channel.
    pub(super) lane: Option<usize>,
    /// How often it was handed out, this time included.
    pub(super) count: u32,
    pub(super) deadline: Instant,
    before: usize,
    after: usize,
}

/// A group's unsettled deliveries, and their leases in the order in which they end.
///
/// All leases of a server are equally long, so a new or renewed one ends last: the order is a list
/// threaded through the slots, and nothing is searched or allocated per delivery.
#[derive(Debug)]
pub(super) struct InFlight {
    entries: Slab<Entry>,
    first: usize,
    last: usize,
    generation: u32,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { entries: Slab::new(), first: NONE, last: NONE, generation: 0 }
    }
}

/// What [`InFlight::insert`] is told about a delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandOut {
    pub(super) member: usize,
    pub(super) consumer: u32,
    pub(super) epoch: u32,
    pub(super) origin: Origin,
    pub(super) seq: u64,
    pub(super) lane: Option<usize>,
    pub(super) count: u32,
    pub(super) deadline: Instant,
}

impl InFlight {
    pub(super) fn insert(&mut self, out: HandOut) -> Token {
        self.generation = self.generation.wrapping_add(1);
        let token = Token {
            consumer: out.consumer,
            epoch: out.epoch,
            slot: self.entries.vacant_key() as u64,
            generation: self.generation,
        };
        let slot = self.entries.insert(Entry {
            member: out.member,
            token,
            origin: out.origin,
            seq: out.seq,
            lane: out.lane,
            count: out.count,
            deadline: out.deadline,
            before: NONE,
            after: NONE,
        });
        self.link(slot);
        token
    }

    /// The delivery that the token stands for, if it is still in hand.
    pub(super) fn find(&self, token: Token) -> Option<&Entry> {
        let slot = usize::try_from(token.slot).ok()?;
        self.entries.get(slot).filter(|entry| entry.token == token)
    }

    /// Takes the delivery out, if it is still in hand.
    pub(super) fn remove(&mut self, token: Token) -> Option<Entry> {
        let slot = usize::try_from(token.slot).ok()?;
        self.find(token)?;
        self.unlink(slot);
        self.entries.try_remove(slot)
    }

    /// Renews the lease; `false` if the delivery is no longer in hand.
    pub(super) fn extend(&mut self, token: Token, deadline: Instant) -> bool {
        if self.find(token).is_none() {
            return false;
        }
        let Ok(slot) = usize::try_from(token.slot) else {
            return false;
        };
        self.unlink(slot);
        self.entries[slot].deadline = deadline;
        self.link(slot);
        true
    }

    /// When the first lease ends.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries.get(self.first).map(|entry| entry.deadline)
    }

    /// The delivery whose lease ends first, if it has ended by `now`.
    pub(super) fn expired(&self, now: Instant) -> Option<Token> {
        let first = self.entries.get(self.first)?;
        (first.deadline <= now).then_some(first.token)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    fn link(&mut self, slot: usize) {
        let last = std::mem::replace(&mut self.last, slot);
        match self.entries.get_mut(last) {
            Some(entry) => entry.after = slot,
            None => self.first = slot,
        }
        let entry = &mut self.entries[slot];
        (entry.before, entry.after) = (last, NONE);
    }

    fn unlink(&mut self, slot: usize) {
        let Entry { before, after, .. } = self.entries[slot];
        match self.entries.get_mut(before) {
            Some(entry) => entry.after = after,
            None => self.first = after,
        }
        match self.entries.get_mut(after) {
            Some(entry) => entry.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hand_out(seq: u64, deadline: Instant) -> HandOut {
        HandOut {
            member: 0,
            consumer: 1,
            epoch: 1,
            origin: Origin::Channel,
            seq,
            lane: None,
            count: 1,
            deadline,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn leases_end_in_the_order_of_their_last_renewal() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut table = InFlight::default();
        let tokens: Vec<_> = (0..3).map(|n| table.insert(hand_out(n, at(n + 1)))).collect();
        assert!(table.extend(tokens[0], at(9)));
        assert!(table.remove(tokens[1]).is_some());
        assert_eq!(table.expired(at(2)), None);
        assert_eq!(table.expired(at(3)), Some(tokens[2]));
        table.remove(tokens[2]);
        assert_eq!(table.next_deadline(), Some(at(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_of_an_earlier_use_of_a_slot_finds_nothing() {
        let mut table = InFlight::default();
        let old = table.insert(hand_out(0, Instant::now()));
        table.remove(old);
        let new = table.insert(hand_out(1, Instant::now()));
        assert_eq!(old.slot, new.slot);
        assert!(table.remove(old).is_none() && !table.extend(old, Instant::now()));
        assert_eq!(table.find(new).map(|e| e.seq), Some(1));
    }
}
