use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use slab::Slab;

/// A message that can be handed out again: to anybody, or only to the holder of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Offer {
    holder: Option<usize>,
    pub(super) seq: u64,
    pub(super) lane: Option<usize>,
}

/// The messages of one key: while one member has some in hand, nobody else gets any.
#[derive(Debug)]
struct Lane {
    key: Bytes,
    holder: Option<usize>,
    in_hand: usize,
    /// Passed by the cursor or given back, in order.
    waiting: VecDeque<u64>,
    /// How the first of `waiting` stands in `offers`.
    offered: Option<Offer>,
}

/// What lies behind a group's cursor and is in nobody's hand: messages given back, and, on an
/// ordered channel, messages whose key was held when the cursor passed them.
///
/// Of every lane at most the first message is on offer, so the order of a key cannot be broken by
/// whoever comes next.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Slab<Lane>,
    by_key: HashMap<Bytes, usize>,
    offers: BTreeSet<Offer>,
}

/// What becomes of a message that the cursor reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// The member has it in hand now.
    Taken { lane: usize },
    /// Its key is held by another member.
    Waits,
}

impl Lanes {
    /// The oldest message that `member` can have.
    pub(super) fn offer(&self, member: usize) -> Option<Offer> {
        let first = |holder| {
            let from = Offer { holder, seq: 0, lane: None };
            let offer = self.offers.range(from..).next()?;
            (offer.holder == holder).then_some(*offer)
        };
        match (first(None), first(Some(member))) {
            (Some(a), Some(b)) => Some(if a.seq < b.seq { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// Gives an offered message to `member`.
    pub(super) fn take(&mut self, offer: Offer, member: usize) {
        match offer.lane {
            None => {
                self.offers.remove(&offer);
            }
            Some(index) => {
                let lane = &mut self.lanes[index];
                lane.waiting.pop_front();
                lane.holder = Some(member);
                lane.in_hand += 1;
                self.update(index);
            }
        }
    }

    /// Decides about a message of `key` that the cursor reaches on behalf of `member`.
    pub(super) fn admit(&mut self, key: &Bytes, seq: u64, member: usize) -> Admission {
        let index = self.lane(key);
        let lane = &mut self.lanes[index];
        if lane.waiting.is_empty() && lane.holder.is_none_or(|holder| holder == member) {
            lane.holder = Some(member);
            lane.in_hand += 1;
            return Admission::Taken { lane: index };
        }
        self.defer(Some(key), seq);
        Admission::Waits
    }

    fn lane(&mut self, key: &Bytes) -> usize {
        if let Some(index) = self.by_key.get(key) {
            return *index;
        }
        let index = self.lanes.insert(Lane {
            key: key.clone(),
            holder: None,
            in_hand: 0,
            waiting: VecDeque::new(),
            offered: None,
        });
        self.by_key.insert(key.clone(), index);
        index
    }

    /// Lets a message wait that comes after everything that waits of its key.
    pub(super) fn defer(&mut self, key: Option<&Bytes>, seq: u64) {
        let Some(key) = key else {
            self.offers.insert(Offer { holder: None, seq, lane: None });
            return;
        };
        let index = self.lane(key);
        self.lanes[index].waiting.push_back(seq);
        self.update(index);
    }

    /// A message in hand is done with; says whether its key became free for messages that wait.
    pub(super) fn done(&mut self, lane: usize) -> bool {
        self.lanes[lane].in_hand -= 1;
        let free = self.lanes[lane].in_hand == 0 && !self.lanes[lane].waiting.is_empty();
        self.update(lane);
        free
    }

    /// A message in hand goes back to its place.
    pub(super) fn give_back(&mut self, lane: Option<usize>, seq: u64) {
        let Some(index) = lane else {
            self.offers.insert(Offer { holder: None, seq, lane: None });
            return;
        };
        let lane = &mut self.lanes[index];
        let place = lane.waiting.partition_point(|s| *s < seq);
        lane.waiting.insert(place, seq);
        lane.in_hand -= 1;
        self.update(index);
    }

    /// Drops one message that waits; `false` if it doesn't wait here.
    pub(super) fn discard(&mut self, key: Option<&Bytes>, seq: u64) -> bool {
        let keyless = Offer { holder: None, seq, lane: None };
        if self.offers.remove(&keyless) {
            return true;
        }
        let Some(index) = key.and_then(|key| self.by_key.get(key)).copied() else {
            return false;
        };
        let waiting = &mut self.lanes[index].waiting;
        let Ok(place) = waiting.binary_search(&seq) else {
            return false;
        };
        waiting.remove(place);
        self.update(index);
        true
    }

    /// Drops everything that waits and returns it. What is in hand keeps its key.
    pub(super) fn drain(&mut self) -> Vec<u64> {
        let waiting = self.waiting().collect();
        self.offers.clear();
        self.lanes.retain(|_, lane| {
            lane.waiting.clear();
            lane.offered = None;
            if lane.in_hand == 0 {
                self.by_key.remove(&lane.key);
            }
            lane.in_hand > 0
        });
        waiting
    }

    /// What waits, in no order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = u64> {
        let keyless = self.offers.iter().filter(|o| o.lane.is_none()).map(|o| o.seq);
        keyless.chain(self.lanes.iter().flat_map(|(_, l)| l.waiting.iter().copied()))
    }

    /// Brings holder, offer and existence of a lane in line with what it holds.
    fn update(&mut self, index: usize) {
        let lane = &mut self.lanes[index];
        if lane.in_hand == 0 {
            lane.holder = None;
        }
        let offer = lane.waiting.front().map(|seq| Offer {
            holder: lane.holder,
            seq: *seq,
            lane: Some(index),
        });
        if offer != lane.offered {
            if let Some(old) = std::mem::replace(&mut lane.offered, offer) {
                self.offers.remove(&old);
            }
            self.offers.extend(offer);
        }
        if lane.in_hand == 0 && offer.is_none() {
            self.by_key.remove(&lane.key);
            self.lanes.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Bytes = Bytes::from_static(b"a");

    #[test]
    fn a_held_key_is_offered_to_its_holder_only_and_freed_in_order() {
        let mut lanes = Lanes::default();
        let Admission::Taken { lane } = lanes.admit(&A, 0, 1) else {
            panic!("a free key is taken");
        };
        assert_eq!(lanes.admit(&A, 1, 2), Admission::Waits);
        assert_eq!(lanes.admit(&A, 2, 2), Admission::Waits);
        assert_eq!(lanes.admit(&A, 3, 1), Admission::Waits);
        assert_eq!(lanes.offer(2), None);
        assert_eq!(lanes.offer(1).map(|o| o.seq), Some(1));
        lanes.give_back(Some(lane), 0);
        assert_eq!(lanes.offer(2).map(|o| o.seq), Some(0));
        lanes.take(lanes.offer(2).unwrap(), 2);
        assert_eq!((lanes.offer(1), lanes.offer(2).map(|o| o.seq)), (None, Some(1)));
        assert!(lanes.done(lane));
        assert_eq!(lanes.offer(1).map(|o| o.seq), Some(1));
    }

    #[test]
    fn a_key_without_messages_costs_nothing() {
        let mut lanes = Lanes::default();
        let Admission::Taken { lane } = lanes.admit(&A, 0, 1) else {
            panic!("a free key is taken");
        };
        assert!(!lanes.done(lane));
        assert!(lanes.lanes.is_empty() && lanes.by_key.is_empty() && lanes.offers.is_empty());
    }
}
