//! What the benchmarks of all brokers share: polymq's side, how it is measured, and the page about it.

pub(crate) mod measure;
pub(crate) mod ours;
pub(crate) mod report;

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a payload.
pub(crate) const BYTES: usize = 256;
/// Tasks that publish one message each, and messages of a batch.
pub(crate) const WINDOW: usize = 512;
/// Messages that are published in a round: the tasks share them evenly.
pub(crate) const MESSAGES: usize = 30_000 / WINDOW * WINDOW;
/// Rounds that count; one more, before them, doesn't.
pub(crate) const ROUNDS: usize = 7;

/// An id for a message that isn't polymq's, of the same length.
pub(crate) fn id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:022x}", COUNT.fetch_add(1, Ordering::Relaxed))
}
