//! Tests for polymq services and adapters.
//!
//! - [`start`] runs a service in the test's process, on a private broker, in virtual time: see
//!   [`harness`].
//! - [`faults`] makes brokers and stores fail, and processes crash, where a test says so.

#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "a test that finds something wrong panics")]

pub mod faults;
pub mod harness;

pub use harness::{TestApp, TestBroker, memory, start, start_on};
