//! Deliveries that come back: released, lost with their lease, or left by a consumer that went.

use std::collections::HashMap;

use tokio::time::Instant;

use super::group::Group;
use super::in_flight::Entry;
use crate::broker::{Event, Token};
use crate::model::Origin;

/// Whether the end of a hand-out shows in the delivery count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// It was lost: a lease that ended, a consumer that was dropped.
    Yes,
    /// It was released.
    No,
}

impl Group {
    /// Gives a delivery back to its place.
    pub(super) fn give_back(&mut self, token: Token, counted: Counted) -> Option<Entry> {
        let entry = self.remove(token)?;
        let count = entry.count - u32::from(counted == Counted::No);
        self.handed_out.insert((entry.origin, entry.seq), count);
        match entry.origin {
            Origin::Channel => {
                self.lanes.give_back(entry.lane, entry.seq);
                self.backlog += 1;
            }
            Origin::RetryInbox => self.inbox.give_back(entry.seq),
        }
        Some(entry)
    }

    /// Gives back what is in hand of the keys of `first`, after these: a later message of a key
    /// must not be handled before an earlier one.
    pub(super) fn recall(&mut self, first: &[Entry], counted: Counted) -> Vec<Entry> {
        let mut lanes: HashMap<usize, u64> = HashMap::new();
        for entry in first {
            if let Some(lane) = entry.lane {
                let seq = lanes.entry(lane).or_insert(entry.seq);
                *seq = entry.seq.min(*seq);
            }
        }
        if lanes.is_empty() {
            return Vec::new();
        }
        let later = |entry: &&Entry| {
            let first = entry.lane.and_then(|lane| lanes.get(&lane));
            first.is_some_and(|seq| entry.seq > *seq)
        };
        let tokens: Vec<Token> = self.in_flight.iter().filter(later).map(|e| e.token).collect();
        tokens.into_iter().filter_map(|t| self.give_back(t, counted)).collect()
    }

    /// Takes back every delivery whose lease has ended, and tells their consumers.
    pub(super) fn expire(&mut self, now: Instant) {
        let mut lost = Vec::new();
        while let Some(token) = self.in_flight.expired(now) {
            lost.extend(self.give_back(token, Counted::Yes));
        }
        if !lost.is_empty() {
            let recalled = self.recall(&lost, Counted::Yes);
            self.report_lost(lost.iter().chain(&recalled));
            self.announce();
        }
    }

    /// Tells consumers which of their deliveries are no longer theirs.
    pub(super) fn report_lost<'a>(&self, lost: impl Iterator<Item = &'a Entry>) {
        let mut by_member: HashMap<usize, Vec<Token>> = HashMap::new();
        for entry in lost {
            by_member.entry(entry.member).or_default().push(entry.token);
        }
        for (member, tokens) in by_member {
            self.members[member].events.send(Event::LeaseLost { tokens });
        }
    }

    /// Takes everything out of a member's hand.
    pub(super) fn give_back_all(&mut self, member: usize, counted: Counted) {
        let held = self.in_flight.iter().filter(|e| e.member == member);
        let tokens: Vec<Token> = held.map(|e| e.token).collect();
        for token in &tokens {
            self.give_back(*token, counted);
        }
        if !tokens.is_empty() {
            self.announce();
        }
    }
}
