//! What only Kafka has, on real brokers: each scenario once per series of versions.
//!
//! `cargo test -p polymq-tests --test kafka -- --nocapture` prints what was counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that finds something panics, and prints what it counted"
)]

/// Makes a test of each scenario on each series.
macro_rules! on_each_series {
    ($($scenarios:tt)+) => {
        polymq_tests::scenarios!(kafka_4_2, "4.2", $($scenarios)+);
    };
}

mod interop;
mod limits;
mod offsets;
mod rights;
mod tls;
mod topology;
