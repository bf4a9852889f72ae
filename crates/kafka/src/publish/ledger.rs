//! What librdkafka has and has not reported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polymq_core::broker::{Outcome, Send};
use slab::Slab;
use tokio::sync::Notify;

use super::call::Call;
use super::{PIECE, describe};

/// Keys and payloads come to no more bytes, but for those of the last message: librdkafka has a copy of each.
const BYTES: usize = 64 << 20;

/// Bounded by number and by bytes. A key stands for a message until it has its outcome.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The broker's name, for errors.
    broker: String,
    window: usize,
    entries: Mutex<Entries>,
    room: Notify,
    empty: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    slab: Slab<Entry>,
    bytes: usize,
    /// How many there have been.
    count: u64,
    /// Somebody waits for room.
    is_awaited: bool,
}

/// One message of a call.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) call: Arc<Call>,
    pub(super) index: usize,
    /// Its place in the order of handing over.
    place: u64,
    /// It was sent by another producer, and nobody knows what became of that.
    in_doubt: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        bytes(&self.call.sends[self.index])
    }
}

fn bytes(send: &Send) -> usize {
    let length = |bytes: Option<&bytes::Bytes>| bytes.map_or(0, bytes::Bytes::len);
    length(send.message.payload()) + length(send.message.key())
}

impl Ledger {
    /// For so many messages, of this broker.
    pub(super) fn new(window: usize, broker: &str) -> Self {
        Self {
            broker: broker.to_owned(),
            window,
            entries: Mutex::default(),
            room: Notify::new(),
            empty: Notify::new(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the messages of a call from `first` on, a piece at most, as many as there is room for: `keys`
    /// then stands for them. While no broker `is_away` there is room for one piece only, whose reports tell
    /// when one is back.
    pub(super) fn enter(
        &self,
        call: &Arc<Call>,
        first: usize,
        is_away: bool,
        keys: &mut Vec<usize>,
    ) {
        keys.clear();
        let mut entries = self.entries();
        for (index, send) in call.sends.iter().enumerate().skip(first).take(PIECE) {
            let is_full = entries.slab.len() >= self.window || entries.bytes >= BYTES;
            if is_full || (is_away && entries.slab.len() > keys.len()) {
                entries.is_awaited = true;
                return;
            }
            let place = entries.count;
            entries.count += 1;
            entries.bytes += bytes(send);
            let entry = Entry { call: Arc::clone(call), index, place, in_doubt: false };
            keys.push(entries.slab.insert(entry));
        }
    }

    /// Takes a message off, whatever became of it.
    pub(super) fn leave(&self, key: usize) -> Option<Entry> {
        let mut entries = self.entries();
        let entry = entries.slab.try_remove(key)?;
        entries.bytes -= entry.bytes();
        let is_awaited = std::mem::take(&mut entries.is_awaited);
        let is_empty = entries.slab.is_empty();
        drop(entries);
        if is_awaited {
            self.room.notify_one();
        }
        if is_empty {
            self.empty.notify_waiters();
        }
        Some(entry)
    }

    /// Takes a message off and tells its call what became of it.
    pub(super) fn settle(&self, key: usize, outcome: Outcome) {
        let Some(Entry { call, index, in_doubt, .. }) = self.leave(key) else { return };
        let describe = |error| describe(error, &self.broker, &call.sends[index].destination);
        let outcome = match outcome {
            Outcome::Rejected(error) if in_doubt => Outcome::Unconfirmed(describe(error)),
            Outcome::Rejected(error) => Outcome::Rejected(describe(error)),
            Outcome::Unconfirmed(error) => Outcome::Unconfirmed(describe(error)),
            confirmed @ Outcome::Confirmed(_) => confirmed,
        };
        call.resolve(index, outcome);
    }

    /// Everything that is owed, in the order of handing over, with its keys. Nobody knows any more what
    /// became of it.
    pub(super) fn doubt(&self) -> Vec<(usize, Entry)> {
        let mut entries = self.entries();
        entries.slab.iter_mut().for_each(|(_, entry)| entry.in_doubt = true);
        let mut owed: Vec<_> =
            entries.slab.iter().map(|(key, entry)| (key, entry.clone())).collect();
        drop(entries);
        owed.sort_unstable_by_key(|(_, entry)| entry.place);
        owed
    }

    /// Waits until there may be room. For one at a time.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    /// Lets whoever waits for room look again.
    pub(super) fn look(&self) {
        self.room.notify_one();
    }

    /// Waits until nothing is owed.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.empty.notified();
            if self.entries().slab.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polymq_core::broker::{Confirmation, Destination};
    use polymq_core::{ChannelName, Message};
    use tokio::time::Instant;

    use super::*;
    use crate::error;

    fn call(count: usize, bytes: usize) -> Arc<Call> {
        let to = Destination::Channel(ChannelName::new("orders").unwrap());
        let send = || Send::new(to.clone(), Message::new(vec![0; bytes]));
        let sends = std::iter::repeat_with(send).take(count).collect();
        Arc::new(Call::new(sends, Instant::now() + Duration::from_secs(60)))
    }

    fn entered(ledger: &Ledger, call: &Arc<Call>, first: usize, is_away: bool) -> Vec<usize> {
        let mut keys = Vec::new();
        ledger.enter(call, first, is_away, &mut keys);
        keys
    }

    #[test]
    fn small_messages_fill_it_by_number() {
        let (ledger, call) = (Ledger::new(200, "test"), call(300, 1));
        let first = entered(&ledger, &call, 0, false);
        assert_eq!(first.len(), PIECE);
        assert_eq!(entered(&ledger, &call, PIECE, false).len(), 200 - PIECE);
        assert_eq!(entered(&ledger, &call, 200, false).len(), 0);
        ledger.leave(first[0]);
        assert_eq!(entered(&ledger, &call, 200, false).len(), 1);
    }

    #[test]
    fn large_messages_fill_it_by_bytes_and_one_of_any_size_gets_in() {
        let (ledger, call) = (Ledger::new(200, "test"), call(3, BYTES - 1));
        let keys = entered(&ledger, &call, 0, false);
        assert_eq!(keys.len(), 2);
        keys.into_iter().for_each(|key| drop(ledger.leave(key)));
        assert_eq!(entered(&ledger, &call, 2, false).len(), 1);
    }

    #[test]
    fn while_no_broker_can_be_reached_one_piece_gets_in() {
        let (ledger, call) = (Ledger::new(1000, "test"), call(300, 1));
        assert_eq!(entered(&ledger, &call, 0, true).len(), PIECE);
        assert_eq!(entered(&ledger, &call, PIECE, true).len(), 0);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_woken_by_the_first_that_leaves() {
        let (ledger, call) = (Ledger::new(1, "test"), call(2, 1));
        let keys = entered(&ledger, &call, 0, false);
        ledger.leave(keys[0]);
        tokio::time::timeout(Duration::from_secs(5), ledger.room()).await.unwrap();
        ledger.empty().await;
    }

    #[test]
    fn what_another_producer_may_have_sent_is_owed_in_order_and_never_rejected() {
        let (ledger, call) = (Ledger::new(10, "test"), call(3, 1));
        let keys = entered(&ledger, &call, 0, false);
        call.hand(3);
        ledger.settle(keys[0], Outcome::Confirmed(Confirmation::default()));
        let owed: Vec<_> = ledger.doubt().into_iter().map(|(_, entry)| entry.index).collect();
        assert_eq!(owed, [1, 2]);
        ledger.settle(keys[1], Outcome::Rejected(error::late("test")));
        assert!(matches!(call.end(|_| error::late("test"))[1], Outcome::Unconfirmed(_)));
    }
}
