//! Deleting what waits: an operator's purge, and the removal of single messages.

use super::channel::State;
use super::error;
use crate::Error;
use crate::model::{Origin, Timestamp};

impl State {
    /// Drops what waits for a group, and says how much that was.
    pub(super) fn purge(&mut self, group: usize, now: Timestamp) -> u64 {
        let waiting = self.waiting(group);
        let of = &mut self.groups[group];
        of.lanes.drain();
        of.cursor = self.log.next_seq();
        of.backlog = 0;
        of.forget_before(of.cursor);
        for seq in &waiting {
            self.settle_record(*seq, now);
        }
        waiting.len() as u64
    }

    /// Drops what waits in a group's retry inbox, and says how much that was.
    pub(super) fn purge_retries(&mut self, group: usize) -> u64 {
        let waiting = self.groups[group].inbox.waiting();
        let seqs: Vec<u64> = waiting.map(|(seq, _)| seq).collect();
        for seq in &seqs {
            self.drop_retry(group, *seq);
        }
        seqs.len() as u64
    }

    pub(super) fn drop_retry(&mut self, group: usize, seq: u64) -> bool {
        let group = &mut self.groups[group];
        group.forget(Origin::RetryInbox, seq);
        let removed = group.inbox.log.remove(seq);
        self.budget.give_back(removed.as_ref().map_or(0, |record| record.cost));
        removed.is_some()
    }

    /// Deletes one message that waits for a group.
    pub(super) fn discard(&mut self, group: usize, seq: u64, now: Timestamp) -> Result<(), Error> {
        let of = &mut self.groups[group];
        if of.holds(Origin::Channel, seq) {
            return Err(error::in_hand(seq));
        }
        let Some(record) = self.log.get(seq) else {
            return Err(error::gone(seq));
        };
        of.pass_to(&self.log, seq + 1);
        if !of.lanes.discard(record.message.key(), seq) {
            return Err(error::gone(seq));
        }
        of.backlog -= 1;
        of.forget(Origin::Channel, seq);
        self.settle_record(seq, now);
        Ok(())
    }

    /// Deletes one message that waits in a group's retry inbox.
    pub(super) fn discard_retry(&mut self, group: usize, seq: u64) -> Result<(), Error> {
        if self.groups[group].holds(Origin::RetryInbox, seq) {
            return Err(error::in_hand(seq));
        }
        let dropped = self.drop_retry(group, seq);
        dropped.then_some(()).ok_or_else(|| error::gone(seq))
    }

    /// What of the channel waits for a group.
    pub(super) fn waiting(&self, group: usize) -> Vec<u64> {
        let group = &self.groups[group];
        let ahead = self.log.iter_from(group.cursor).map(|(seq, _)| seq);
        group.lanes.waiting().chain(ahead).collect()
    }
}
