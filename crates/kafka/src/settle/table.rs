//! Everything that a consumer has: what may be handed out, and what settles it.

use std::collections::HashMap;
use std::sync::Arc;

use polymq_core::broker::{Settlement, Token};
use polymq_core::{Delivery, Error, Message, Origin, Position, Timestamp};

use super::partition::{Commit, Key, Opening, Partition, Start};
use super::tokens::{self, LAST_TRACK};
use super::track::Record;

/// What bounds a consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Messages in hand.
    pub(crate) prefetch: usize,
    /// Messages that a crash repeats although they were acked.
    pub(crate) uncommitted: usize,
}

/// A message with what was wrong with it.
pub(crate) type Item = (Message, Option<Arc<Error>>);

/// The partitions that are assigned to a consumer.
#[derive(Debug)]
pub(crate) struct Table {
    consumer: u32,
    limits: Limits,
    /// In the order of their numbers, but where those have begun anew.
    partitions: Vec<Partition<Item>>,
    /// Where each partition that was here before had come to.
    seen: HashMap<Key, i64>,
    next_number: u32,
    generation: u32,
    /// Which partition has its turn.
    turn: usize,
}

impl Table {
    pub(crate) fn new(consumer: u32, limits: Limits) -> Self {
        Self {
            consumer,
            limits,
            partitions: Vec::new(),
            seen: HashMap::new(),
            next_number: 0,
            generation: 0,
            turn: 0,
        }
    }

    /// Takes a partition on.
    pub(crate) fn assign(&mut self, start: Start) {
        let seen = self.seen.get(&start.key).copied().unwrap_or(0);
        let number = self.next_number;
        self.next_number = if number == LAST_TRACK { 0 } else { number + 1 };
        self.partitions.push(Partition::new(number, start, seen, self.limits.prefetch));
    }

    /// Lets go of partitions; returns what was in hand of them, which is stale.
    pub(crate) fn unassign(&mut self, which: impl Fn(Key) -> bool) -> Vec<Token> {
        let consumer = self.consumer;
        let gone: Vec<_> = self.partitions.extract_if(.., |p| which(p.key)).collect();
        self.seen.extend(gone.iter().map(|partition| (partition.key, partition.handed())));
        gone.iter().flat_map(|partition| in_hand(consumer, partition)).collect()
    }

    /// Stops handing out of partitions; returns what is in hand of them.
    pub(crate) fn leave(&mut self, which: impl Fn(Key) -> bool) -> Vec<Token> {
        let consumer = self.consumer;
        let leaving = self.partitions.iter_mut().filter(|p| which(p.key));
        leaving
            .flat_map(|partition| {
                partition.is_leaving = true;
                in_hand(consumer, partition)
            })
            .collect()
    }

    /// Takes in what was fetched from a partition. What belongs to none that is assigned is left out.
    pub(crate) fn push(&mut self, key: Key, record: Record<Item>) {
        if let Some(partition) = self.partition(key) {
            partition.push(record);
        }
    }

    /// Hands out what is due, `max` at most, from all partitions in turn.
    pub(crate) fn hand_out(&mut self, now: Timestamp, max: usize) -> Vec<Delivery> {
        let now = now.as_millis();
        let mut room = self.room().min(max.max(1));
        let ready = self.ready(now);
        if room == 0 {
            let held_up = |p: &Partition<Item>| p.track.is_held_up_by_buffered();
            let index = ready.into_iter().find(|index| held_up(&self.partitions[*index]));
            let may = self.in_hand() < self.limits.prefetch;
            let one = index.filter(|_| may).and_then(|index| self.hand_out_of(index, now));
            return one.into_iter().collect();
        }
        let mut deliveries = Vec::with_capacity(room.min(self.buffered()));
        self.turn = self.turn.wrapping_add(1);
        let mut left = ready.len();
        for index in ready {
            // An equal share of what is left, rounded up.
            for _ in 0..room.div_ceil(left) {
                if !self.partitions[index].is_ready(now) {
                    break;
                }
                deliveries.extend(self.hand_out_of(index, now));
                room -= 1;
            }
            left -= 1;
            if room == 0 {
                break;
            }
        }
        deliveries
    }

    /// When the first of what is buffered and not due is.
    pub(crate) fn next_release(&self, now: Timestamp) -> Option<Timestamp> {
        let staying = self.partitions.iter().filter(|p| !p.is_leaving);
        let releases = staying.filter_map(|p| p.track.next_release());
        releases.filter(|at| *at > now.as_millis()).min().map(Timestamp::from_millis)
    }

    /// Settles one delivery; `None` for a token that stands for nothing any more.
    pub(crate) fn settle(&mut self, token: Token, settlement: Settlement) -> Option<()> {
        let (number, sequence) = tokens::unpack(token);
        let partition = self.numbered(token.consumer, number)?;
        match settlement {
            Settlement::Ack => partition.ack(sequence, token.generation),
            Settlement::Release => partition.track.release(sequence, token.generation),
        }
    }

    /// Whether this hand-out is still in hand.
    pub(crate) fn is_in_hand(&mut self, token: Token) -> bool {
        let (number, sequence) = tokens::unpack(token);
        let partition = self.numbered(token.consumer, number);
        partition.is_some_and(|p| p.track.is_in_hand(sequence, token.generation))
    }

    /// How many more deliveries may be handed out.
    pub(crate) fn room(&self) -> usize {
        let in_hand = self.in_hand();
        let repeated = in_hand + self.uncommitted();
        let limits = self.limits;
        limits.prefetch.saturating_sub(in_hand).min(limits.uncommitted.saturating_sub(repeated))
    }

    /// Deliveries handed out and not settled.
    pub(crate) fn in_hand(&self) -> usize {
        self.partitions.iter().map(|p| p.track.in_hand()).sum()
    }

    /// Nothing is in hand of what is being let go.
    pub(crate) fn has_left(&self) -> bool {
        let mut leaving = self.partitions.iter().filter(|p| p.is_leaving).peekable();
        leaving.peek().is_some() && leaving.all(|p| p.track.in_hand() == 0)
    }

    /// Something is being let go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.partitions.iter().any(|partition| partition.is_leaving)
    }

    /// Deliveries that are here and not handed out.
    pub(crate) fn buffered(&self) -> usize {
        self.partitions.iter().map(|p| p.track.buffered()).sum()
    }

    /// What is buffered of a source and could be handed out now, in messages and bytes.
    pub(crate) fn backlog(&self, origin: Origin, now: Timestamp) -> (usize, usize) {
        let going = |p: &&Partition<Item>| p.key.origin == origin && !p.waits(now.as_millis());
        let going = self.partitions.iter().filter(going);
        going.fold((0, 0), |(n, b), p| (n + p.track.buffered(), b + p.track.bytes()))
    }

    /// How many more messages fit of a partition of the inbox, of which `buffer` may be due.
    pub(crate) fn inbox_room(&self, key: Key, now: Timestamp, buffer: usize) -> usize {
        let partition = self.partitions.iter().find(|partition| partition.key == key);
        let due = || self.backlog(Origin::RetryInbox, now).0;
        partition.map_or(usize::MAX, |p| match p.waits(now.as_millis()) {
            true => p.lookahead(),
            false => buffer.saturating_sub(due()),
        })
    }

    /// Done, and repeated after a crash.
    fn uncommitted(&self) -> usize {
        self.partitions.iter().map(Partition::uncommitted).sum()
    }

    /// Where each partition is to be read on.
    pub(crate) fn fetches(&self) -> Vec<(Key, i64)> {
        self.partitions.iter().map(|p| (p.key, p.track.next())).collect()
    }

    /// Whether the next offset of a partition exists.
    pub(crate) fn set_lost(&mut self, key: Key, is_lost: bool) {
        if let Some(partition) = self.partition(key) {
            partition.is_lost = is_lost;
        }
    }

    /// A partition is read on at `offset`, as what was there before has gone.
    pub(crate) fn go_on_at(&mut self, key: Key, offset: i64) {
        if let Some(partition) = self.partition(key) {
            partition.is_lost = false;
            partition.track.go_on_at(offset);
        }
    }

    /// The partitions whose fetching is to stop, and those whose fetching is to go on, from now on.
    pub(crate) fn turn_taps(&mut self, now: Timestamp, is_full: bool) -> (Vec<Key>, Vec<Key>) {
        let (mut shut, mut opened) = (Vec::new(), Vec::new());
        for partition in &mut self.partitions {
            let wanted = is_full || partition.is_full(now.as_millis());
            if wanted != partition.is_paused {
                partition.is_paused = wanted;
                if wanted { &mut shut } else { &mut opened }.push(partition.key);
            }
        }
        (shut, opened)
    }

    /// A partition is not fetched from.
    pub(crate) fn has_paused(&self) -> bool {
        self.partitions.iter().any(|partition| partition.is_paused)
    }

    /// What is to be committed now. Of what is let go, with `closing` of everything, that is all there is
    /// to say.
    pub(crate) fn begin_commit(&mut self, closing: bool) -> Vec<Commit> {
        let open = |p: &&mut Partition<Item>| !p.is_committed(closing || p.is_leaving);
        self.partitions.iter_mut().filter(open).map(Partition::begin_commit).collect()
    }

    /// All there is to say of what is let go, with `closing` of everything, is committed.
    pub(crate) fn is_committed(&self, closing: bool) -> bool {
        let mut ending = self.partitions.iter().filter(|p| closing || p.is_leaving);
        ending.all(|partition| partition.is_committed(true))
    }

    /// What was on its way has arrived for these, and for no others.
    pub(crate) fn end_commit(&mut self, has_arrived: impl Fn(Key) -> bool) {
        for partition in &mut self.partitions {
            partition.end_commit(has_arrived(partition.key));
        }
    }

    /// Something waits for a commit: whatever is done, or at once what is due before it goes on.
    pub(crate) fn commits(&self) -> Commits {
        let mut commits = Commits { any: false, urgent: false };
        let half = self.limits.uncommitted / 2;
        let mut committable = 0;
        for partition in self.partitions.iter().filter(|p| !p.is_committed(false)) {
            commits.any = true;
            commits.urgent |= partition.opening == Opening::Wanted || partition.is_careful();
            committable += partition.committable();
        }
        commits.urgent |= commits.any && committable > 0 && committable >= half;
        commits
    }

    /// What is committed of the inbox is to be committed again.
    pub(crate) fn renew_inbox(&mut self) {
        let inbox = self.partitions.iter_mut().filter(|p| p.key.origin == Origin::RetryInbox);
        inbox.for_each(Partition::renew);
    }

    /// Hands out although first hand-outs could not be announced.
    pub(crate) fn open_all(&mut self) {
        self.partitions.iter_mut().for_each(Partition::open);
    }

    /// Those that are ready and announced, from the one whose turn it is. The others of those that are
    /// ready are to be announced by the next commit.
    fn ready(&mut self, now: u64) -> Vec<usize> {
        let count = self.partitions.len();
        let first = self.turn.checked_rem(count).unwrap_or(0);
        let mut ready = Vec::with_capacity(count);
        for index in (first..count).chain(0..first) {
            let partition = &mut self.partitions[index];
            if !partition.is_ready(now) {
                continue;
            }
            match partition.opening {
                Opening::Idle => partition.opening = Opening::Wanted,
                Opening::Wanted => {}
                Opening::Open => ready.push(index),
            }
        }
        ready
    }

    fn hand_out_of(&mut self, index: usize, now: u64) -> Option<Delivery> {
        self.generation = self.generation.wrapping_add(1);
        let partition = &mut self.partitions[index];
        let (out, count) = partition.hand_out(now, self.generation)?;
        let token = tokens::pack(self.consumer, partition.number, out.sequence, self.generation);
        let (message, malformed) = out.item;
        let Key { origin, partition } = partition.key;
        let mut delivery = Delivery::new(message, token);
        delivery.origin = origin;
        delivery.position =
            u64::try_from(out.offset).ok().map(|offset| Position { partition, offset });
        delivery.delivery_count = Some(count);
        delivery.redelivered = out.again;
        delivery.malformed = malformed;
        Some(delivery)
    }

    fn partition(&mut self, key: Key) -> Option<&mut Partition<Item>> {
        self.partitions.iter_mut().find(|partition| partition.key == key)
    }

    fn numbered(&mut self, consumer: u32, number: u32) -> Option<&mut Partition<Item>> {
        let is_ours = consumer == self.consumer;
        self.partitions.iter_mut().find(|partition| is_ours && partition.number == number)
    }
}

/// What waits for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commits {
    /// Something does.
    pub(crate) any: bool,
    /// Hand-outs wait for it.
    pub(crate) urgent: bool,
}

fn in_hand(consumer: u32, partition: &Partition<Item>) -> Vec<Token> {
    let hand_outs = partition.track.hand_outs();
    let token =
        |(sequence, generation)| tokens::pack(consumer, partition.number, sequence, generation);
    hand_outs.map(token).collect()
}
