//! polymq on real RabbitMQ brokers, with real processes that are killed, and with a client that isn't
//! ours: each scenario once per series of versions.
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
    ($($scenario:ident),+ $(,)?) => {
        on_each_series!(@series rabbitmq_4_3 "4.3", $($scenario),+);
        on_each_series!(@series rabbitmq_4_0 "4.0", $($scenario),+);
    };
    (@series $module:ident $series:literal, $($scenario:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario($series).await;
                }
            )+
        }
    };
}

mod access;
mod away;
mod blocked;
mod crash;
mod interop;
mod limits;
mod mailer;
mod order;
mod outage;
mod programs;
mod quickstart;
mod switch;
mod tls;
mod topology;
