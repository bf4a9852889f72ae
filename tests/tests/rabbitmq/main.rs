//! What only RabbitMQ has, on real brokers: each scenario once per series of versions.
//!
//! `cargo test -p polymq-tests --test rabbitmq -- --nocapture` prints what was counted.

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
        polymq_tests::scenarios!(rabbitmq_4_3, "4.3", $($scenarios)+);
        polymq_tests::scenarios!(rabbitmq_4_0, "4.0", $($scenarios)+);
    };
}

mod access;
mod away;
mod blocked;
mod interop;
mod limits;
mod tls;
mod topology;
