use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use super::budget::Class;
use super::channel::{Channel, State};
use super::consume::MemoryConsumer;
use super::error;
use super::hand_back::Counted;
use super::publish::{Place, check_room, cost, needs};
use super::server::lock;
use crate::broker::{Capability, Send, Settlement, Token, Unit};
use crate::{Error, Result};

/// The channels that a commit touches, all locked, in the order of their ids.
type Locked<'a> = BTreeMap<usize, (&'a Channel, MutexGuard<'a, State>)>;

/// A send that was checked: its channel, place and cost.
struct Checked {
    channel: usize,
    place: Place,
    cost: u64,
    send: Send,
}

impl MemoryConsumer {
    /// The channel's state, with leases that have ended taken back.
    fn current(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.channel.state);
        state.groups[self.group].expire(self.connection.clock.instant());
        state
    }

    fn stale(&self) -> Error {
        error::stale().with_channel(&self.channel.name).with_broker(&self.connection.info.name)
    }

    pub(super) fn settle_now(&self, settlements: &[(Token, Settlement)]) -> Vec<Result<()>> {
        if self.connection.check_open().is_err() {
            return settlements.iter().map(|_| self.connection.check_open()).collect();
        }
        let now = self.connection.clock.now();
        let mut released = Vec::new();
        let mut state = self.current();
        let results = settlements
            .iter()
            .map(|(token, settlement)| {
                let mine = token.consumer == self.id;
                let settled = match settlement {
                    Settlement::Ack if mine => state.ack(self.group, *token, now),
                    Settlement::Release if mine => {
                        let entry = state.groups[self.group].give_back(*token, Counted::No);
                        released.extend(entry);
                        entry
                    }
                    _ => None,
                };
                settled.map(drop).ok_or_else(|| self.stale())
            })
            .collect();
        if !released.is_empty() {
            let group = &mut state.groups[self.group];
            let recalled = group.recall(&released, Counted::No);
            group.report_lost(recalled.iter());
            group.announce();
        }
        drop(state);
        self.connection.server.touch();
        results
    }

    pub(super) fn extend_now(&self, tokens: &[Token]) -> Vec<Result<()>> {
        if self.connection.check_open().is_err() {
            return tokens.iter().map(|_| self.connection.check_open()).collect();
        }
        let mut state = self.current();
        let lease = self.connection.lease();
        let deadline = self.connection.clock.instant() + lease;
        let in_flight = &mut state.groups[self.group].in_flight;
        let mut extend = |token: &Token| {
            let renewed = token.consumer == self.id && in_flight.extend(*token, deadline);
            renewed.then_some(()).ok_or_else(|| self.stale())
        };
        tokens.iter().map(&mut extend).collect()
    }

    pub(super) fn commit_now(&self, units: Vec<Unit>) -> Vec<Result<()>> {
        let check = || {
            self.connection.check_open()?;
            self.connection.require(Capability::Atomic)
        };
        if check().is_err() {
            return units.iter().map(|_| check()).collect();
        }
        let sends = || units.iter().flat_map(|unit| &unit.sends);
        let (application, hop) = needs(sends());
        self.connection.evict_for(application, hop, self.connection.clock.now());
        let mut channels: BTreeMap<usize, Arc<Channel>> = BTreeMap::new();
        channels.insert(self.channel.id, Arc::clone(&self.channel));
        for send in sends() {
            let channel = send.destination.channel();
            if let Some(channel) = channel.and_then(|c| self.connection.space.channel(c)) {
                channels.insert(channel.id, channel);
            }
        }
        let mut locked: Locked<'_> = channels
            .iter()
            .map(|(id, channel)| (*id, (channel.as_ref(), lock(&channel.state))))
            .collect();
        let results = units.into_iter().map(|unit| self.commit_unit(&mut locked, unit)).collect();
        for (_, state) in locked.values() {
            state.announce();
        }
        drop(locked);
        self.connection.server.touch();
        results
    }

    /// Checks everything first; from there on nothing can fail.
    fn commit_unit(&self, locked: &mut Locked<'_>, unit: Unit) -> Result<()> {
        let connection = &*self.connection;
        let now = connection.clock.now();
        let (_, own) = locked.get_mut(&self.channel.id).ok_or_else(|| self.stale())?;
        own.groups[self.group].expire(connection.clock.instant());
        let mine = unit.token.consumer == self.id;
        if !mine || own.groups[self.group].in_flight.find(unit.token).is_none() {
            return Err(self.stale());
        }
        let (application, hop) = needs(unit.sends.iter());
        let mut sums: BTreeMap<usize, u64> = BTreeMap::new();
        let mut checked = Vec::with_capacity(unit.sends.len());
        for send in unit.sends {
            let wanted = send.destination.channel();
            let found = locked.iter_mut().find(|(_, (channel, _))| Some(&channel.name) == wanted);
            let Some((id, (channel, state))) = found else {
                return Err(error::no_destination(&send.destination));
            };
            let size = send.message.size();
            let place = connection.place(channel, state, &send, size)?;
            let cost = cost(&send.message);
            let class = Class::from(&send.destination);
            let sum = sums.entry(*id).or_default();
            *sum += if class == Class::Application { cost } else { 0 };
            check_room(channel, state, class, *sum)?;
            checked.push(Checked { channel: *id, place, cost, send });
        }
        let budget = &connection.server.0.budget;
        let full = |bytes, class| {
            let (used, limit) = (budget.used(), budget.limit(class));
            error::full_server(&self.channel.name, used, limit, bytes, class)
        };
        if !budget.take(application, Class::Application) {
            return Err(full(application, Class::Application));
        }
        if !budget.take(hop, Class::Hop) {
            budget.give_back(application);
            return Err(full(hop, Class::Hop));
        }
        for Checked { channel, place, cost, send } in checked {
            if let Some((_, state)) = locked.get_mut(&channel) {
                connection.put(state, place, send, cost, now);
            }
        }
        if let Some((_, own)) = locked.get_mut(&self.channel.id) {
            own.ack(self.group, unit.token, now);
        }
        Ok(())
    }
}
