//! Which delivery tags of an AMQP channel are unsettled.

use std::collections::VecDeque;

/// How many tags one block covers.
const BITS: u64 = u64::BITS as u64;

/// The unsettled tags of one AMQP channel, which numbers its deliveries 1, 2, 3 …
///
/// Tags come in any order, as several queues feed one channel and each is read by itself. A tag that
/// has been passed over counts as unsettled, since the broker has sent it: an acknowledgement of
/// everything up to a later tag would lose it.
///
/// A bit per tag, in blocks; a block that is settled throughout is dropped, wherever it lies. So the
/// size follows the number of unsettled tags, which the prefetch bounds, and not how far apart they are.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    blocks: VecDeque<Block>,
    /// The highest tag that was handed out.
    highest: u64,
    in_hand: usize,
}

#[derive(Debug)]
struct Block {
    /// The tags of the block, divided by their number.
    index: u64,
    /// Not settled, whether handed out or not.
    open: u64,
    /// Handed out, and neither settled nor kept.
    in_hand: u64,
}

impl Watermark {
    /// A tag is handed out, for the first time.
    pub(crate) fn hand_out(&mut self, tag: u64) {
        if tag > self.highest {
            self.open_up_to(tag);
        }
        if let Some((block, bit)) = self.find(tag)
            && block.in_hand & bit == 0
        {
            block.in_hand |= bit;
            self.in_hand += 1;
        }
    }

    /// Settles a tag that is in hand; says whether it was.
    pub(crate) fn settle(&mut self, tag: u64) -> bool {
        let kept = self.keep(tag);
        if kept {
            self.close(tag);
        }
        kept
    }

    /// Takes a tag out of hand that stays unsettled on the broker; says whether it was in hand.
    pub(crate) fn keep(&mut self, tag: u64) -> bool {
        let Some((block, bit)) = self.find(tag) else { return false };
        let was_in_hand = block.in_hand & bit != 0;
        block.in_hand &= !bit;
        self.in_hand -= usize::from(was_in_hand);
        was_in_hand
    }

    pub(crate) fn is_in_hand(&self, tag: u64) -> bool {
        let (index, bit) = place(tag);
        let found = self.blocks.binary_search_by_key(&index, |block| block.index);
        found.is_ok_and(|at| self.blocks[at].in_hand & bit != 0)
    }

    /// No tag was ever handed out.
    pub(crate) fn is_untouched(&self) -> bool {
        self.highest == 0
    }

    /// How many tags are in hand.
    pub(crate) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Everything up to and including this tag is settled.
    pub(crate) fn settled_up_to(&self) -> u64 {
        match self.blocks.front() {
            Some(block) => block.index * BITS + u64::from(block.open.trailing_zeros()) - 1,
            None => self.highest,
        }
    }

    /// The tags in hand, lowest first.
    pub(crate) fn tags_in_hand(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.iter().flat_map(|block| {
            let bits = (0..BITS).filter(|n| block.in_hand >> n & 1 == 1);
            bits.map(|n| block.index * BITS + n)
        })
    }

    fn open_up_to(&mut self, tag: u64) {
        let (first, last) = (self.highest + 1, tag);
        self.highest = tag;
        for index in first / BITS..=last / BITS {
            let from = first.saturating_sub(index * BITS);
            let to = (last - index * BITS).min(BITS - 1);
            let open = (u64::MAX << from) & (u64::MAX >> (BITS - 1 - to));
            match self.blocks.back_mut().filter(|block| block.index == index) {
                Some(block) => block.open |= open,
                None => self.blocks.push_back(Block { index, open, in_hand: 0 }),
            }
        }
    }

    fn find(&mut self, tag: u64) -> Option<(&mut Block, u64)> {
        let (index, bit) = place(tag);
        let at = self.blocks.binary_search_by_key(&index, |block| block.index).ok()?;
        Some((&mut self.blocks[at], bit))
    }

    fn close(&mut self, tag: u64) {
        let (index, bit) = place(tag);
        if let Ok(at) = self.blocks.binary_search_by_key(&index, |block| block.index) {
            self.blocks[at].open &= !bit;
            if self.blocks[at].open == 0 {
                self.blocks.remove(at);
            }
        }
    }
}

fn place(tag: u64) -> (u64, u64) {
    (tag / BITS, 1 << (tag % BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn handed_out(tags: impl IntoIterator<Item = u64>) -> Watermark {
        let mut watermark = Watermark::default();
        tags.into_iter().for_each(|tag| watermark.hand_out(tag));
        watermark
    }

    #[test]
    fn the_watermark_stops_below_the_lowest_unsettled_tag() {
        let mut watermark = handed_out(1..=5);
        assert_eq!(watermark.settled_up_to(), 0);
        assert!(watermark.settle(2) && watermark.settle(1));
        assert_eq!(watermark.settled_up_to(), 2);
        assert!(watermark.settle(5) && watermark.settle(3));
        assert_eq!(watermark.settled_up_to(), 3);
        assert!(watermark.settle(4));
        assert_eq!((watermark.settled_up_to(), watermark.in_hand()), (5, 0));
    }

    #[test]
    fn a_tag_that_was_passed_over_holds_the_watermark_until_it_came_and_was_settled() {
        let mut watermark = handed_out([1, 3]);
        assert!(watermark.settle(1) && watermark.settle(3));
        assert_eq!(watermark.settled_up_to(), 1);
        assert!(!watermark.settle(2), "it was never handed out");
        watermark.hand_out(2);
        assert!(watermark.settle(2));
        assert_eq!(watermark.settled_up_to(), 3);
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut watermark = handed_out(1..=2);
        assert!(watermark.settle(1));
        assert!(!watermark.settle(1) && !watermark.settle(0) && !watermark.settle(77));
        assert_eq!(watermark.in_hand(), 1);
    }

    #[test]
    fn a_kept_tag_is_out_of_hand_and_holds_the_watermark() {
        let mut watermark = handed_out(1..=3);
        assert!(watermark.keep(2) && !watermark.keep(2) && !watermark.settle(2));
        assert!(watermark.settle(1) && watermark.settle(3));
        assert_eq!((watermark.settled_up_to(), watermark.in_hand()), (1, 0));
    }

    #[test]
    fn one_tag_that_stays_unsettled_does_not_make_it_grow() {
        let mut watermark = Watermark::default();
        watermark.hand_out(1);
        for tag in 2..1_000_000 {
            watermark.hand_out(tag);
            assert!(watermark.settle(tag));
        }
        assert!(watermark.blocks.len() <= 2, "{}", watermark.blocks.len());
        assert_eq!(watermark.settled_up_to(), 0);
    }

    /// The plainest thing that does the same.
    #[derive(Default)]
    struct Model {
        open: BTreeSet<u64>,
        in_hand: BTreeSet<u64>,
        highest: u64,
    }

    impl Model {
        fn settled_up_to(&self) -> u64 {
            self.open.first().map_or(self.highest, |tag| tag - 1)
        }
    }

    #[test]
    fn it_agrees_with_a_plain_set_whatever_happens() {
        for seed in 0..20 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut watermark, mut model) = (Watermark::default(), Model::default());
            let mut sent = 0;
            let mut buffered = Vec::new();
            for _ in 0..400 {
                if random.random_bool(0.4) {
                    let burst = random.random_range(1..20);
                    buffered.extend(sent + 1..=sent + burst);
                    sent += burst;
                    buffered.shuffle(&mut random);
                }
                for tag in buffered.split_off(buffered.len() / 2) {
                    watermark.hand_out(tag);
                    model.open.extend(model.highest + 1..=tag);
                    model.highest = model.highest.max(tag);
                    model.in_hand.insert(tag);
                }
                for _ in 0..random.random_range(0..30) {
                    let tag = random.random_range(0..=sent + 2);
                    let was_in_hand = model.in_hand.remove(&tag);
                    if random.random_bool(0.05) {
                        assert_eq!(watermark.keep(tag), was_in_hand, "seed {seed}, tag {tag}");
                    } else {
                        assert_eq!(watermark.settle(tag), was_in_hand, "seed {seed}, tag {tag}");
                        if was_in_hand {
                            model.open.remove(&tag);
                        }
                    }
                }
                assert_eq!(watermark.settled_up_to(), model.settled_up_to(), "seed {seed}");
                assert_eq!(watermark.in_hand(), model.in_hand.len(), "seed {seed}");
                assert!(watermark.tags_in_hand().eq(model.in_hand.iter().copied()), "seed {seed}");
                assert!(
                    (0..=sent + 2).all(|t| watermark.is_in_hand(t) == model.in_hand.contains(&t))
                );
                assert!(watermark.blocks.len() <= model.open.len(), "seed {seed}");
            }
        }
    }
}
