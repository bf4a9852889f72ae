use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::channel::Stored;
use super::in_flight::{Entry, HandOut, InFlight};
use super::inbox::Inbox;
use super::lanes::{Admission, Lanes};
use super::log::Log;
use crate::broker::{EventSender, Token};
use crate::model::{Delivery, GroupName, Message, Origin, Position};

/// One attached consumer, as its group sees it.
#[derive(Debug)]
pub(super) struct Member {
    /// Unique within the server.
    pub(super) consumer: u32,
    /// The connection that it belongs to.
    pub(super) epoch: u32,
    pub(super) prefetch: usize,
    pub(super) in_hand: usize,
    pub(super) paused: bool,
    pub(super) closed: bool,
    /// Wakes a `recv` that its own prefetch, pause or close holds up.
    pub(super) own: Arc<Notify>,
    pub(super) events: EventSender,
}

/// A group's view of its channel, and its retry inbox.
///
/// The channel's log holds the messages. A cursor separates what the group has never seen from
/// what lies behind it: in hand, waiting in `lanes`, or handled.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: GroupName,
    pub(super) ordered: bool,
    /// Everything at and after it has never been handed out.
    pub(super) cursor: u64,
    /// How many messages of the channel wait for the group.
    pub(super) backlog: u64,
    pub(super) lanes: Lanes,
    pub(super) inbox: Inbox,
    pub(super) in_flight: InFlight,
    /// Counts of messages that wait after an earlier hand-out.
    pub(super) handed_out: HashMap<(Origin, u64), u32>,
    pub(super) members: Slab<Member>,
    /// Wakes `recv` calls that wait for messages.
    pub(super) wake: Arc<Notify>,
    /// Which source comes first when a call has room for an odd number.
    inbox_first: bool,
}

impl Group {
    pub(super) fn new(name: GroupName, ordered: bool, cursor: u64, backlog: u64) -> Self {
        Self {
            name,
            ordered,
            cursor,
            backlog,
            lanes: Lanes::default(),
            inbox: Inbox::default(),
            in_flight: InFlight::default(),
            handed_out: HashMap::new(),
            members: Slab::new(),
            wake: Arc::default(),
            inbox_first: false,
        }
    }

    /// Tells waiting `recv` calls that there is something to hand out.
    ///
    /// Without lanes anybody can take anything: one is woken, and wakes the next when it leaves
    /// something. With lanes only the holder of a key may be able to: all look.
    pub(super) fn announce(&self) {
        if self.ordered {
            self.wake.notify_waiters();
        } else {
            self.wake.notify_one();
        }
    }

    /// Hands the next `max` messages to `member`, half of them from each source if both have
    /// enough.
    pub(super) fn take(
        &mut self,
        log: &Log<Stored>,
        member: usize,
        max: usize,
        now: Instant,
        deadline: Instant,
    ) -> Vec<Delivery> {
        let ready = usize::try_from(self.backlog).unwrap_or(usize::MAX);
        let most = max.min(ready.saturating_add(self.inbox.log.len()));
        let mut batch = Vec::with_capacity(most);
        let share = (max + usize::from(self.inbox_first)) / 2;
        self.inbox_first = !self.inbox_first;
        self.take_due(member, share, now, deadline, &mut batch);
        self.take_ready(log, member, max, deadline, &mut batch);
        self.take_due(member, max, now, deadline, &mut batch);
        self.pass_on(now);
        batch
    }

    /// When the first lease can end: none that begins later ends before `now` plus a lease.
    pub(super) fn next_lease_end(&self, now: Instant, lease: Duration) -> Instant {
        self.in_flight.next_deadline().unwrap_or(now + lease)
    }

    /// Wakes the next `recv` when something is left for it.
    pub(super) fn pass_on(&mut self, now: Instant) {
        let left = self.backlog > 0 || self.inbox.next_due().is_some_and(|due| due <= now);
        if left && !self.ordered {
            self.wake.notify_one();
        }
    }

    fn take_due(
        &mut self,
        member: usize,
        max: usize,
        now: Instant,
        deadline: Instant,
        batch: &mut Vec<Delivery>,
    ) {
        while batch.len() < max {
            let Some(seq) = self.inbox.take(now) else {
                return;
            };
            let Some(message) = self.inbox.log.get(seq).map(|r| r.message.clone()) else {
                continue;
            };
            batch.push(self.hand_out(Origin::RetryInbox, seq, None, message, member, deadline));
        }
    }

    fn take_ready(
        &mut self,
        log: &Log<Stored>,
        member: usize,
        max: usize,
        deadline: Instant,
        batch: &mut Vec<Delivery>,
    ) {
        // What was given back is older than anything after the cursor.
        while batch.len() < max {
            let Some(offer) = self.lanes.offer(member) else {
                break;
            };
            self.lanes.take(offer, member);
            self.backlog -= 1;
            let Some(message) = log.get(offer.seq).map(|r| r.message.clone()) else {
                continue;
            };
            let lane = offer.lane;
            batch.push(self.hand_out(Origin::Channel, offer.seq, lane, message, member, deadline));
        }
        if batch.len() >= max {
            return;
        }
        for (seq, record) in log.iter_from(self.cursor) {
            self.cursor = seq + 1;
            let lane = match record.message.key().filter(|_| self.ordered) {
                None => None,
                Some(key) => match self.lanes.admit(key, seq, member) {
                    Admission::Taken { lane } => Some(lane),
                    Admission::Waits => continue,
                },
            };
            self.backlog -= 1;
            let message = record.message.clone();
            batch.push(self.hand_out(Origin::Channel, seq, lane, message, member, deadline));
            if batch.len() >= max {
                return;
            }
        }
    }

    fn hand_out(
        &mut self,
        origin: Origin,
        seq: u64,
        lane: Option<usize>,
        message: Message,
        member: usize,
        deadline: Instant,
    ) -> Delivery {
        let earlier =
            if self.handed_out.is_empty() { None } else { self.handed_out.remove(&(origin, seq)) };
        let count = earlier.unwrap_or(0).saturating_add(1);
        let holder = &mut self.members[member];
        holder.in_hand += 1;
        let token = self.in_flight.insert(HandOut {
            member,
            consumer: holder.consumer,
            epoch: holder.epoch,
            origin,
            seq,
            lane,
            count,
            deadline,
        });
        let mut delivery = Delivery::new(message, token);
        delivery.origin = origin;
        delivery.position = Some(position(seq));
        delivery.delivery_count = Some(count);
        delivery.redelivered = earlier.is_some();
        delivery
    }

    /// Takes a delivery out of its member's hand.
    pub(super) fn remove(&mut self, token: Token) -> Option<Entry> {
        let entry = self.in_flight.remove(token)?;
        let member = &mut self.members[entry.member];
        if member.in_hand >= member.prefetch {
            member.own.notify_one();
        }
        member.in_hand -= 1;
        Some(entry)
    }

    /// Whether a message is in somebody's hand.
    pub(super) fn holds(&self, origin: Origin, seq: u64) -> bool {
        self.in_flight.iter().any(|e| e.origin == origin && e.seq == seq)
    }

    /// Moves the cursor without handing anything out: what it passes waits behind it.
    pub(super) fn pass_to(&mut self, log: &Log<Stored>, to: u64) {
        for (seq, record) in log.iter_from(self.cursor).take_while(|(seq, _)| *seq < to) {
            let key = record.message.key().filter(|_| self.ordered);
            self.lanes.defer(key, seq);
        }
        self.cursor = self.cursor.max(to);
    }

    /// Forgets what is known of the channel's messages before `seq`, none of which waits.
    pub(super) fn forget_before(&mut self, seq: u64) {
        self.handed_out.retain(|(origin, s), _| *origin == Origin::RetryInbox || *s >= seq);
    }

    /// Forgets a message that waited.
    pub(super) fn forget(&mut self, origin: Origin, seq: u64) {
        self.handed_out.remove(&(origin, seq));
    }
}

/// Where a message lies: the memory broker has one partition.
pub(super) fn position(seq: u64) -> Position {
    Position { partition: 0, offset: seq }
}
