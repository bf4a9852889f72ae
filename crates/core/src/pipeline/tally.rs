use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::DeadLetterReason;

/// What a consumer has done since it started. Every message is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// Deliveries from the channel, redeliveries included.
    pub received: u64,
    /// Deliveries from the retry inbox.
    pub received_retries: u64,
    /// Messages whose handler succeeded and that were acked.
    pub handled: u64,
    /// Failed attempts that were followed by another one.
    pub retried: u64,
    /// Messages that came before their time and were sent on.
    pub rescheduled: u64,
    /// Messages that had been handled within the deduplication window.
    pub duplicates: u64,
    /// Leftovers of attempts that had been handed over.
    pub superseded: u64,
    /// Messages dropped past their time-to-live.
    pub expired: u64,
    /// Messages of unknown types that were ignored.
    pub ignored: u64,
    /// Messages whose subject none of the group's patterns takes.
    pub filtered: u64,
    /// Messages given back unhandled.
    pub released: u64,
    /// Outputs published and confirmed.
    pub outputs: u64,
    /// Settlements that came too late: those messages come again.
    pub stale: u64,
    /// Dead letters by reason.
    pub dead_lettered: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Dead letters of every reason.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        self.dead_lettered.values().sum()
    }
}

macro_rules! counters {
    ($($name:ident)*) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
            dead_lettered: Mutex<BTreeMap<&'static str, u64>>,
        }

        impl Counters {
            pub(super) fn tally(&self) -> Tally {
                let dead = self.dead_lettered.lock().unwrap_or_else(PoisonError::into_inner);
                Tally {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    dead_lettered: dead.clone(),
                }
            }
        }
    };
}

counters!(
    received received_retries handled retried rescheduled duplicates superseded expired ignored
    filtered released outputs stale
);

impl Counters {
    pub(super) fn dead_letter(&self, reason: DeadLetterReason) {
        let mut dead = self.dead_lettered.lock().unwrap_or_else(PoisonError::into_inner);
        *dead.entry(reason.as_str()).or_default() += 1;
    }
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
