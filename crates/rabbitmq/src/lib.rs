//! RabbitMQ for polymq.
//!
//! ```no_run
//! # async fn run() -> polymq_core::Result<()> {
//! let app = polymq_core::App::with(polymq_rabbitmq::adapter());
//! # drop(app); Ok(()) }
//! ```

#![forbid(unsafe_code)]

mod admin;
mod browse;
mod config;
mod convert;
mod error;
mod layout;
mod link;
mod publish;
mod steps;
mod target;
mod topology;
#[cfg(test)] mod live;
