//! The embedded broker: the default for development and tests, and the reference for adapters.
//!
//! It keeps every contract of [`broker`](crate::broker) and has every capability that a single
//! process can honestly have, so a service that runs here meets the same semantics that it will
//! meet on a real broker; [`MemoryOptions::lacks`] takes some away to see what a service does
//! without them. What it does not do is survive its process: messages are as durable as memory is.
//!
//! - Channels exist once a topology was applied; publishing elsewhere is rejected as `NotFound`.
//! - A publish beyond `max_bytes`, of the channel or of the server, is rejected as `Full`. What a
//!   topic keeps for replay gives way first; what somebody has yet to handle never does. Retries
//!   and dead letters have a reserve of their own: see [`MemoryOptions::max_bytes`].
//! - Unhandled messages are kept for ever, whatever `retention` says: that is a lower bound. On a
//!   topic it is also how long handled messages can be replayed.
//! - The limits of a channel are those of the topology that created it.
//! - Delays and leases are timers of whoever waits in `recv`: there are no tasks.
//!
//! ```
//! use polymq_core::broker::{Adapter, Capability};
//! use polymq_core::memory::{self, MemoryOptions, MemoryServer};
//!
//! // For applications: every name is a server of this adapter's.
//! assert_eq!(memory::adapter().schemes(), ["memory"]);
//!
//! // For tests: one server, as poor as the test wants it, behind every connection.
//! let server = MemoryServer::new(MemoryOptions::default().without(Capability::OrderByKey));
//! let adapter = server.adapter();
//! # drop(adapter);
//! ```

mod adapter;
mod admin;
mod broker;
mod browse;
mod budget;
mod channel;
mod config;
mod connection;
mod consume;
mod discard;
mod error;
mod facts;
mod group;
mod hand_back;
mod history;
mod in_flight;
mod inbox;
mod lanes;
mod log;
mod publish;
mod server;
mod settle;
#[cfg(test)]
mod tests;
mod topology;

pub use adapter::{MemoryAdapter, adapter};
pub use config::MemoryOptions;
pub use server::MemoryServer;
