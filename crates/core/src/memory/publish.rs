use super::budget::{Budget, Class, OVERHEAD};
use super::channel::{Channel, State};
use super::connection::Connection;
use super::error;
use super::group::position;
use super::inbox::Due;
use super::server::lock;
use crate::Result;
use crate::broker::{Capability, Confirmation, Destination, Outcome, Send};
use crate::clock::FAR;
use crate::model::{Message, Position, Timestamp};

/// What a stored message counts against the limits.
pub(super) fn cost(message: &Message) -> u64 {
    message.size() as u64 + OVERHEAD
}

/// Where in a channel a send goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// To every group.
    Log,
    /// To the retry inbox of one.
    Inbox(usize),
}

/// Room in the server for one call, taken in one go when there is enough for everything, else
/// message by message. What is left when it is dropped goes back.
#[derive(Debug)]
struct Credit<'a> {
    budget: &'a Budget,
    application: Option<u64>,
    hop: Option<u64>,
}

impl<'a> Credit<'a> {
    fn new(budget: &'a Budget, application: u64, hop: u64) -> Self {
        let take = |bytes, class| budget.take(bytes, class).then_some(bytes);
        Self {
            budget,
            application: take(application, Class::Application),
            hop: take(hop, Class::Hop),
        }
    }

    fn take(&mut self, bytes: u64, class: Class) -> bool {
        let taken = match class {
            Class::Application => &mut self.application,
            Class::Hop => &mut self.hop,
        };
        match taken {
            Some(left) => {
                *left -= bytes;
                true
            }
            None => self.budget.take(bytes, class),
        }
    }
}

impl Drop for Credit<'_> {
    fn drop(&mut self) {
        let left = self.application.unwrap_or(0) + self.hop.unwrap_or(0);
        self.budget.give_back(left);
    }
}

/// The bytes that sends need, by class: application, hops.
pub(super) fn needs<'a>(sends: impl Iterator<Item = &'a Send>) -> (u64, u64) {
    sends.fold((0, 0), |(application, hop), send| match Class::from(&send.destination) {
        Class::Application => (application + cost(&send.message), hop),
        Class::Hop => (application, hop + cost(&send.message)),
    })
}

impl Connection {
    pub(super) fn publish(&self, sends: Vec<Send>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(sends.len());
        if self.closed.is_cancelled() {
            let closed = |_| Outcome::Rejected(error::closed("broker").with_operation("publish"));
            outcomes.extend(sends.iter().map(closed));
            return outcomes;
        }
        let now = self.clock.now();
        let (application, hop) = needs(sends.iter());
        self.evict_for(application, hop, now);
        let mut credit = Credit::new(&self.server.0.budget, application, hop);
        // What this call has found full: later sends must not overtake the rejected one.
        let mut full: Vec<Destination> = Vec::new();
        let mut sends = sends.into_iter().peekable();
        while let Some(first) = sends.next() {
            let Some(channel) = first.destination.channel().and_then(|c| self.space.channel(c))
            else {
                let missing = error::no_destination(&first.destination);
                outcomes.push(Outcome::Rejected(missing.with_broker(&self.info.name)));
                continue;
            };
            let mut state = lock(&channel.state);
            state.expire_history(now);
            let mut run = Some(first);
            while let Some(send) = run {
                let stored = self.store(&channel, &mut state, send, now, &mut credit, &mut full);
                outcomes.push(match stored {
                    Ok(position) => Outcome::Confirmed(Confirmation::at(position)),
                    Err(e) => Outcome::Rejected(e.with_broker(&self.info.name)),
                });
                run = sends.next_if(|next| next.destination.channel() == Some(&channel.name));
            }
            state.announce();
        }
        self.server.touch();
        outcomes
    }

    /// Lets history give way when the server has no room for so much. No channel may be locked.
    pub(super) fn evict_for(&self, application: u64, hop: u64, now: Timestamp) {
        let budget = &self.server.0.budget;
        let class = if application > 0 { Class::Application } else { Class::Hop };
        let wanted = budget.used().saturating_add(application + hop);
        let excess = wanted.saturating_sub(budget.limit(class));
        if excess > 0 {
            self.server.evict_history(excess, now);
        }
    }

    fn store(
        &self,
        channel: &Channel,
        state: &mut State,
        send: Send,
        now: Timestamp,
        credit: &mut Credit<'_>,
        full: &mut Vec<Destination>,
    ) -> Result<Position> {
        let size = send.message.size();
        let place = self.place(channel, state, &send, size)?;
        if full.contains(&send.destination) {
            return Err(error::full_before(&channel.name));
        }
        let cost = size as u64 + OVERHEAD;
        let class = Class::from(&send.destination);
        let room = check_room(channel, state, class, cost).and_then(|()| {
            let budget = credit.budget;
            credit.take(cost, class).then_some(()).ok_or_else(|| {
                error::full_server(&channel.name, budget.used(), budget.limit(class), cost, class)
            })
        });
        if let Err(e) = room {
            full.push(send.destination);
            return Err(e);
        }
        Ok(self.put(state, place, send, cost, now))
    }

    /// Where in its channel a send goes.
    ///
    /// # Errors
    /// What makes it impossible to store, apart from a lack of room.
    pub(super) fn place(
        &self,
        channel: &Channel,
        state: &State,
        send: &Send,
        size: usize,
    ) -> Result<Place> {
        let (message, limits) = (&send.message, &self.capabilities.limits);
        let too_large = |what, size, max| Err(error::too_large(&channel.name, what, size, max));
        if size > limits.max_message_bytes {
            return too_large("bytes", size, limits.max_message_bytes);
        }
        // A retry or a dead letter carries polymq's headers beside the application's.
        if Class::from(&send.destination) == Class::Application {
            let headers = message.headers();
            if headers.size() > limits.max_header_bytes {
                return too_large("bytes of headers", headers.size(), limits.max_header_bytes);
            }
            if headers.len() > limits.max_headers {
                return too_large("headers", headers.len(), limits.max_headers);
            }
        }
        match &send.destination {
            Destination::RetryInbox { group, .. } => {
                if send.at.is_some() {
                    self.require(Capability::DelayedRetry)?;
                }
                let place = state.group(group).map(Place::Inbox);
                place.ok_or_else(|| error::no_destination(&send.destination))
            }
            destination if send.at.is_some() => Err(error::delay_elsewhere(destination)),
            Destination::Channel(_) | Destination::DeadLetter(_) => Ok(Place::Log),
        }
    }

    /// Stores a message whose room was taken before.
    pub(super) fn put(
        &self,
        state: &mut State,
        place: Place,
        send: Send,
        cost: u64,
        now: Timestamp,
    ) -> Position {
        position(match place {
            Place::Log => state.store(send.message, cost, now),
            Place::Inbox(group) => {
                let due = self.due(send.at, now);
                state.store_retry(group, send.message, cost, due)
            }
        })
    }

    fn due(&self, at: Option<Timestamp>, now: Timestamp) -> Due {
        let mut instant = match at {
            None => self.clock.instant(),
            Some(at) => self.clock.instant_of(at.min(now + FAR)),
        };
        if let Some(ceiling) = self.server.options().max_delay {
            instant = instant.min(self.clock.instant() + ceiling.min(FAR));
        }
        Due { at, instant }
    }
}

/// Whether the channel itself has room: only for application messages it can be full.
pub(super) fn check_room(
    channel: &Channel,
    state: &mut State,
    class: Class,
    cost: u64,
) -> Result<()> {
    let Some(max) = channel.max_bytes.filter(|_| class == Class::Application) else {
        return Ok(());
    };
    if state.make_room(cost, max) {
        return Ok(());
    }
    Err(error::full_channel(&channel.name, state.bytes, max, cost))
}
