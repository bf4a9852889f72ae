//! What the pipeline promises on every broker, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that finds something panics"
)]

mod batch;
mod breaker;
mod control;
mod dedup;
mod drain;
mod leases;
mod order;
mod outputs;
mod release;
mod retries;
mod retry_policy;
mod time;
mod together;
mod topics;
