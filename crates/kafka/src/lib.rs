//! Kafka for polymq.
//!
//! ```no_run
//! # async fn run() -> polymq_core::Result<()> {
//! let app = polymq_core::App::with(polymq_kafka::adapter());
//! # drop(app); Ok(()) }
//! ```

#![deny(unsafe_code)]

mod admin;
mod blocking;
mod broker;
mod browse;
mod capabilities;
mod config;
mod consume;
mod context;
mod convert;
mod error;
mod facts;
#[cfg(test)]
mod fixture;
mod inbox;
mod layout;
mod log;
mod offsets;
mod publish;
mod scan;
mod session;
mod settle;
mod target;
mod tiers;
mod topology;

pub use broker::{KafkaAdapter, adapter};
