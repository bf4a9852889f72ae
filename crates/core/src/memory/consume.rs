use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::channel::Channel;
use super::connection::Connection;
use super::error;
use super::group::Member;
use super::hand_back::Counted;
use super::server::lock;
use crate::Result;
use crate::broker::{
    Capability, Consumer, ConsumerStatus, Event, EventSender, Events, Settlement, Token, Unit,
};
use crate::model::Delivery;

/// One attached consumer.
#[derive(Debug)]
pub(super) struct MemoryConsumer {
    pub(super) connection: Arc<Connection>,
    pub(super) channel: Arc<Channel>,
    pub(super) group: usize,
    member: usize,
    pub(super) id: u32,
    /// Wakes for messages of the group.
    wake: Arc<Notify>,
    /// Wakes for room under the prefetch, resume and close.
    own: Arc<Notify>,
    events: EventSender,
    assigned: AtomicBool,
    /// Held by the one `recv` call that waits.
    turn: tokio::sync::Mutex<()>,
}

/// What a look at the group gave.
enum Look {
    Got(Vec<Delivery>),
    /// Nothing to hand out; look again at this moment at the latest.
    Empty(Instant),
    /// Paused, or the prefetch is reached.
    HeldUp(Instant),
}

impl MemoryConsumer {
    pub(super) fn attach(
        connection: Arc<Connection>,
        channel: Arc<Channel>,
        group: usize,
        prefetch: usize,
    ) -> Self {
        let (own, events) = (Arc::<Notify>::default(), EventSender::default());
        let id = connection.server.next_consumer();
        let mut state = lock(&channel.state);
        let of = &mut state.groups[group];
        let wake = Arc::clone(&of.wake);
        let member = of.members.insert(Member {
            consumer: id,
            epoch: connection.epoch,
            prefetch: prefetch.max(1),
            in_hand: 0,
            paused: false,
            closed: false,
            own: Arc::clone(&own),
            events: events.clone(),
        });
        drop(state);
        Self {
            connection,
            channel,
            group,
            member,
            id,
            wake,
            own,
            events,
            assigned: AtomicBool::new(false),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    fn look(&self, max: usize) -> Result<Look> {
        self.connection.check_open()?;
        let lease = self.connection.lease();
        let mut state = lock(&self.channel.state);
        let now = self.connection.clock.instant();
        state.groups[self.group].expire(now);
        let state = &mut *state;
        let group = &mut state.groups[self.group];
        let member = &group.members[self.member];
        if member.closed {
            return Err(error::closed("consumer").with_channel(&self.channel.name));
        }
        let room = member.prefetch.saturating_sub(member.in_hand);
        if member.paused || room == 0 {
            // A wake-up that reached this consumer is somebody else's.
            group.pass_on(now);
            return Ok(Look::HeldUp(group.next_lease_end(now, lease)));
        }
        let batch = group.take(&state.log, self.member, max.max(1).min(room), now, now + lease);
        if !batch.is_empty() {
            return Ok(Look::Got(batch));
        }
        let lease_end = group.next_lease_end(now, lease);
        let next = group.inbox.next_due().map_or(lease_end, |due| due.min(lease_end));
        Ok(Look::Empty(next))
    }

    /// Applies `change` to what the group knows of this consumer.
    fn update(&self, change: impl FnOnce(&mut Member)) {
        let mut state = lock(&self.channel.state);
        change(&mut state.groups[self.group].members[self.member]);
        drop(state);
        self.own.notify_one();
    }

    fn got(&self, mut batch: Vec<Delivery>) -> Vec<Delivery> {
        if self.connection.server.lacks(Capability::DeliveryCount) {
            for delivery in &mut batch {
                delivery.delivery_count = None;
            }
        }
        self.connection.server.touch();
        batch
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn recv(&self, max: usize) -> Result<Vec<Delivery>> {
        let _turn = self.turn.lock().await;
        // Registering for a wake-up is only worth it when there is nothing.
        if let Look::Got(batch) = self.look(max)? {
            return Ok(self.got(batch));
        }
        loop {
            let wake = self.wake.notified();
            tokio::pin!(wake);
            wake.as_mut().enable();
            let (held_up, next) = match self.look(max)? {
                Look::Got(batch) => return Ok(self.got(batch)),
                Look::Empty(next) => (false, next),
                Look::HeldUp(next) => (true, next),
            };
            if held_up {
                // Must not catch wake-ups that others can use.
                wake.set(self.wake.notified());
            }
            tokio::select! {
                biased;
                () = &mut wake, if !held_up => {}
                () = self.own.notified() => {}
                () = self.connection.closed.cancelled() => {}
                () = self.connection.clock.sleep_until(next) => {}
            }
        }
    }

    async fn settle(
        &self,
        settlements: &[(Token, Settlement)],
        _deadline: Instant,
    ) -> Vec<Result<()>> {
        self.settle_now(settlements)
    }

    async fn extend(&self, tokens: &[Token], _deadline: Instant) -> Vec<Result<()>> {
        self.extend_now(tokens)
    }

    async fn commit(&self, units: Vec<Unit>, _deadline: Instant) -> Vec<Result<()>> {
        self.commit_now(units)
    }

    fn pause(&self) {
        self.update(|member| member.paused = true);
    }

    fn resume(&self) {
        self.update(|member| member.paused = false);
    }

    /// The first listener is told that the consumer was assigned everything there is.
    fn events(&self) -> Events {
        let events = self.events.subscribe();
        if !self.assigned.swap(true, Ordering::AcqRel) {
            self.events.send(Event::Assigned { partitions: vec![0] });
        }
        events
    }

    fn status(&self) -> ConsumerStatus {
        let connected = !self.connection.closed.is_cancelled();
        let state = lock(&self.channel.state);
        let member = &state.groups[self.group].members[self.member];
        ConsumerStatus {
            connected,
            attached: connected && !member.closed,
            paused: member.paused,
            in_flight: member.in_hand,
            buffered: 0,
        }
    }

    async fn close(&self, _deadline: Instant) -> Result<()> {
        let mut state = lock(&self.channel.state);
        let group = &mut state.groups[self.group];
        group.members[self.member].closed = true;
        group.give_back_all(self.member, Counted::No);
        drop(state);
        self.own.notify_one();
        self.connection.server.touch();
        Ok(())
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        let mut state = lock(&self.channel.state);
        let group = &mut state.groups[self.group];
        group.give_back_all(self.member, Counted::Yes);
        group.members.remove(self.member);
        drop(state);
        self.connection.server.touch();
    }
}
