//! RabbitMQ for polymq.
//!
//! ```no_run
//! # async fn run() -> polymq_core::Result<()> {
//! let app = polymq_core::App::with(polymq_rabbitmq::adapter());
//! # drop(app); Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod admin;
mod broker;
mod browse;
mod capabilities;
mod config;
mod consume;
mod convert;
mod dial;
mod error;
mod facts;
mod homeless;
mod layout;
mod link;
#[cfg(feature = "management")]
mod management;
mod publish;
mod settle;
mod steps;
mod target;
mod topology;
mod version;

pub use broker::{RabbitmqAdapter, adapter};
