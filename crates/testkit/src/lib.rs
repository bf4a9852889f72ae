//! Tests for polymq services and adapters.
//!
//! - [`start`] runs a service in the test's process, on a private broker, in virtual time: see
//!   [`harness`].
//! - [`conformance`] is what every adapter must pass, over a [`Fixture`], in one call.
//! - [`faults`] makes brokers and stores fail, and processes crash, where a test says so.
//! - [`ledger`] counts every id.
//! - `containers`, with the features `kafka`, `nats` and `rabbitmq`, has real brokers for all of these.

#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "a test that finds something wrong panics")]

pub mod conformance;
#[cfg(feature = "containers")]
pub mod containers;
pub mod faults;
mod fixture;
pub mod harness;
pub mod ledger;

#[cfg(feature = "kafka")]
pub use containers::kafka;
#[cfg(feature = "rabbitmq")]
pub use containers::rabbitmq;
#[cfg(feature = "kafka")]
pub use fixture::KafkaFixture;
#[cfg(feature = "rabbitmq")]
pub use fixture::RabbitmqFixture;
pub use fixture::{Fixture, Lifecycle, MemoryFixture};
pub use harness::{TestApp, TestBroker, memory, start, start_on};
