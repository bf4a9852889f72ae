use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::broker::Destination;

/// What a stored message costs beside its bytes: its slot, and its place in the groups' lists.
pub(super) const OVERHEAD: u64 = 256;

/// Whose limit applies to a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Application messages: up to `max_bytes`.
    Application,
    /// Retries and dead letters: up to a quarter above it, so that a server full of application
    /// messages can still work them off.
    Hop,
}

impl From<&Destination> for Class {
    fn from(destination: &Destination) -> Self {
        match destination {
            Destination::Channel(_) => Self::Application,
            Destination::RetryInbox { .. } | Destination::DeadLetter(_) => Self::Hop,
        }
    }
}

/// The bytes that a server may hold.
#[derive(Debug)]
pub(super) struct Budget {
    max: u64,
    used: AtomicU64,
}

impl Budget {
    pub(super) fn new(max: u64) -> Self {
        Self { max, used: AtomicU64::new(0) }
    }

    pub(super) fn limit(&self, class: Class) -> u64 {
        match class {
            Class::Application => self.max,
            Class::Hop => self.max.saturating_add(self.max / 4),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Takes `bytes`, or nothing when they would exceed the limit.
    pub(super) fn take(&self, bytes: u64, class: Class) -> bool {
        let limit = self.limit(class);
        self.used
            .fetch_update(Relaxed, Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| bytes == 0 || *sum <= limit)
            })
            .is_ok()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Relaxed);
        }
    }
}
