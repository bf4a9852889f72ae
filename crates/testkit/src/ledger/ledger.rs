use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use polymq_core::broker::Outcome;

use super::Tally;

/// What a publisher was told about an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Unknown,
    Confirmed,
    Unconfirmed,
    Rejected,
}

/// What a receipt was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The first of its id.
    First,
    /// Another one of an id that was received before.
    Duplicate,
    /// Of an id that nobody sent, or that was rejected.
    Unexpected,
}

#[derive(Debug, Default)]
struct Entry {
    fate: Fate,
    received: u64,
    /// The place of its key, and its own place among those of the key.
    place: Option<(usize, u64)>,
}

/// The ids of one key.
#[derive(Debug, Default)]
struct Key {
    sent: u64,
    /// One more than the latest place that was received.
    received_to: u64,
}

#[derive(Debug, Default)]
struct Books {
    entries: HashMap<String, Entry>,
    keys: Vec<Key>,
    places: HashMap<Vec<u8>, usize>,
    reordered: u64,
    unexpected: u64,
    distinct: u64,
}

/// Every id of a test: what its publisher was told, and how often it was received.
///
/// Shared by reference between publishers and consumers; each call takes one short lock. A topic
/// with several groups needs one ledger per group.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an id that is about to be sent. Ids with a key are expected in the order in which
    /// they were entered. Entering an id again changes nothing: it is a re-send.
    pub fn sent(&self, id: &str, key: Option<&[u8]>) {
        let mut books = self.books();
        if books.entries.contains_key(id) {
            return;
        }
        let place = key.map(|key| books.enter_key(key));
        books.entries.insert(id.to_owned(), Entry { place, ..Entry::default() });
    }

    /// The broker has it.
    pub fn confirmed(&self, id: &str) {
        self.tell(id, Fate::Confirmed);
    }

    /// Nobody knows whether the broker has it.
    pub fn unconfirmed(&self, id: &str) {
        self.tell(id, Fate::Unconfirmed);
    }

    /// The broker certainly does not have it.
    pub fn rejected(&self, id: &str) {
        self.tell(id, Fate::Rejected);
    }

    /// Enters what a publish said.
    pub fn outcome(&self, id: &str, outcome: &Outcome) {
        self.tell(
            id,
            match outcome {
                Outcome::Confirmed(_) => Fate::Confirmed,
                Outcome::Unconfirmed(_) => Fate::Unconfirmed,
                Outcome::Rejected(_) => Fate::Rejected,
            },
        );
    }

    /// A confirmation stands, whatever a re-send of the same id is told later.
    fn tell(&self, id: &str, fate: Fate) {
        let mut books = self.books();
        if !books.entries.contains_key(id) {
            books.entries.insert(id.to_owned(), Entry::default());
        }
        if let Some(entry) = books.entries.get_mut(id)
            && entry.fate != Fate::Confirmed
        {
            entry.fate = fate;
        }
    }

    /// Enters a receipt.
    pub fn received(&self, id: &str) -> Receipt {
        let mut books = self.books();
        let Books { entries, keys, reordered, unexpected, distinct, .. } = &mut *books;
        let Some(entry) = entries.get_mut(id).filter(|e| e.fate != Fate::Rejected) else {
            *unexpected += 1;
            return Receipt::Unexpected;
        };
        entry.received += 1;
        if entry.received > 1 {
            return Receipt::Duplicate;
        }
        *distinct += 1;
        if let Some((key, place)) = entry.place {
            let key = &mut keys[key];
            *reordered += u64::from(place < key.received_to);
            key.received_to = key.received_to.max(place + 1);
        }
        Receipt::First
    }

    /// How many ids were received, without counting the rest.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.books().distinct
    }

    /// Everything counted.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let books = self.books();
        let mut tally = Tally {
            sent: books.entries.len() as u64,
            reordered: books.reordered,
            unexpected: books.unexpected,
            received: books.unexpected,
            distinct: books.distinct,
            ..Tally::default()
        };
        for entry in books.entries.values() {
            match entry.fate {
                Fate::Unknown => {}
                Fate::Confirmed => tally.confirmed += 1,
                Fate::Unconfirmed => tally.unconfirmed += 1,
                Fate::Rejected => tally.rejected += 1,
            }
            tally.received += entry.received;
            tally.duplicated += entry.received.saturating_sub(1);
            tally.lost += u64::from(entry.fate == Fate::Confirmed && entry.received == 0);
        }
        tally
    }

    /// The confirmed ids that were never received, sorted.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        let books = self.books();
        let lost = books
            .entries
            .iter()
            .filter(|(_, entry)| entry.fate == Fate::Confirmed && entry.received == 0);
        let mut ids: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        ids
    }
}

impl Books {
    fn enter_key(&mut self, key: &[u8]) -> (usize, u64) {
        let at = match self.places.get(key) {
            Some(at) => *at,
            None => {
                self.keys.push(Key::default());
                self.places.insert(key.to_vec(), self.keys.len() - 1);
                self.keys.len() - 1
            }
        };
        let place = self.keys[at].sent;
        self.keys[at].sent += 1;
        (at, place)
    }
}
