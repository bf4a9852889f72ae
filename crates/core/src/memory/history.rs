//! What a topic keeps after every group has handled it, and moving a group over it.

use super::channel::{State, Stored};
use super::hand_back::Counted;
use super::in_flight::Entry;
use super::log::Record;
use crate::broker::{StartPosition, Token};
use crate::model::{Origin, Timestamp};
use crate::{Error, ErrorKind};

impl State {
    /// The sequence number that a position stands for.
    pub(super) fn resolve(&self, position: StartPosition) -> Result<u64, Error> {
        let oldest = self.log.iter_from(0).next().map_or(self.log.next_seq(), |(seq, _)| seq);
        match position {
            StartPosition::Latest => Ok(self.log.next_seq()),
            StartPosition::Earliest => Ok(oldest),
            StartPosition::Timestamp(at) => {
                let first = self.log.iter_from(0).find(|(_, r)| r.extra.published >= at);
                Ok(first.map_or(self.log.next_seq(), |(seq, _)| seq))
            }
            StartPosition::Position(p)
                if p.partition == 0 && (oldest..=self.log.next_seq()).contains(&p.offset) =>
            {
                Ok(p.offset)
            }
            StartPosition::Position(p) => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "there is no position {p}: the channel holds 0/{oldest} up to 0/{}",
                    self.log.next_seq()
                ),
            )
            .with_help("choose a position within that range, `earliest` or a timestamp")),
        }
    }

    /// Marks what lies at and after `from` as unhandled by one more group.
    pub(super) fn claim(&mut self, from: u64) -> u64 {
        let mut claimed = 0;
        for (_, record) in self.log.iter_mut_from(from) {
            self.handled -= usize::from(record.extra.unhandled == 0);
            record.extra.unhandled += 1;
            claimed += 1;
        }
        claimed
    }

    /// Whether `cost` more bytes fit under `max`, if need be in place of history.
    pub(super) fn make_room(&mut self, cost: u64, max: u64) -> bool {
        if self.bytes.saturating_add(cost) > max {
            self.evict(self.bytes.saturating_add(cost) - max);
        }
        self.bytes.saturating_add(cost) <= max
    }

    /// Drops history that is older than the retention.
    pub(super) fn expire_history(&mut self, now: Timestamp) {
        let Some(keep) = self.history else {
            return;
        };
        let next = self.log.next_seq();
        let old = |(_, record): &(u64, &Record<Stored>)| record.extra.published + keep <= now;
        let expired: Vec<(u64, bool)> = (self.log.iter_from(self.expired_to))
            .take_while(old)
            .map(|(seq, record)| (seq, record.extra.unhandled == 0))
            .collect();
        if let Some((last, _)) = expired.last() {
            self.expired_to = (last + 1).min(next);
        }
        for (seq, _) in expired.into_iter().filter(|(_, handled)| *handled) {
            self.drop_handled(seq);
        }
    }

    /// Drops history, oldest first, until `bytes` were freed; says how many were.
    pub(super) fn evict(&mut self, bytes: u64) -> u64 {
        if self.handled == 0 {
            return 0;
        }
        let mut freed = 0;
        let history = self.log.iter_from(0).filter(|(_, r)| r.extra.unhandled == 0);
        let victims: Vec<u64> = history
            .take_while(|(_, record)| {
                let enough = freed >= bytes;
                freed += if enough { 0 } else { record.cost };
                !enough
            })
            .map(|(seq, _)| seq)
            .collect();
        for seq in victims {
            self.drop_handled(seq);
        }
        freed
    }

    pub(super) fn drop_handled(&mut self, seq: u64) {
        if let Some(record) = self.log.remove(seq) {
            self.handled -= 1;
            self.bytes -= record.cost;
            self.budget.give_back(record.cost);
        }
    }

    /// Moves a group: what it has in hand of the channel is taken back first.
    pub(super) fn seek(&mut self, group: usize, to: u64, now: Timestamp) {
        let held = self.groups[group].in_flight.iter();
        let tokens: Vec<Token> =
            held.filter(|e| e.origin == Origin::Channel).map(|e| e.token).collect();
        let of = &mut self.groups[group];
        let lost: Vec<Entry> =
            tokens.into_iter().filter_map(|token| of.give_back(token, Counted::No)).collect();
        of.report_lost(lost.iter());
        // Claimed first, so that nothing that is to come again is dropped as handled.
        let before = self.waiting(group);
        let backlog = self.claim(to);
        for seq in before {
            self.settle_record(seq, now);
        }
        let of = &mut self.groups[group];
        of.lanes.drain();
        of.forget_before(to);
        (of.cursor, of.backlog) = (to, backlog);
        of.announce();
    }
}
