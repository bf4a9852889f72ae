//! What bad input gets: refused, dead-lettered, counted, waited for. Never lost, and nothing panics or
//! hangs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds something panics"
)]

mod faults;
mod handlers;
mod limits;
mod messages;
mod stuck;
mod types;
