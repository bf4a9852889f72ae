//! What holds on every broker, with real processes and brokers that are killed: each scenario once per
//! series of versions.
//!
//! `cargo test -p polymq-tests --test scenarios -- --nocapture` prints what was counted; with `--ignored`
//! it runs the long forms.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that finds something panics, and prints what it counted"
)]

/// Makes a test of each scenario on each series of every broker.
macro_rules! on_each_series {
    ($($scenarios:tt)+) => {
        polymq_tests::scenarios!(
            rabbitmq_4_3, polymq_tests::real::Series::Rabbitmq("4.3"), $($scenarios)+
        );
        polymq_tests::scenarios!(
            rabbitmq_4_0, polymq_tests::real::Series::Rabbitmq("4.0"), $($scenarios)+
        );
        polymq_tests::scenarios!(
            kafka_4_2, polymq_tests::real::Series::Kafka("4.2"), $($scenarios)+
        );
    };
}

mod access;
mod away;
mod batch;
mod crash;
mod interop;
mod order;
mod outage;
mod programs;
mod quickstart;
mod switch;
