//! Publishing: coalesced, bounded, confirmed or not, and in order per key.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds something panics"
)]

mod coalescing;
mod order;
mod outcomes;
mod slow;
mod window;

use polymq_core::{Running, Service};
use polymq_tests::bed::Bed;

async fn start(bed: &Bed, text: &str) -> Running {
    bed.start(text, Service::new(())).await
}
