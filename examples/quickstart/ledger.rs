use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The orders that have a receipt.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeSet<String>>);

impl Ledger {
    /// Booking an order twice is the same as booking it once.
    pub(crate) fn book(&self, order: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(order);
    }

    /// How many orders have a receipt.
    pub(crate) fn orders(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}
