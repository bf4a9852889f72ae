//! What an operator meets, on a real broker. The conformance suite covers what all brokers have in common.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that finds something panics")]

mod browse;
#[cfg(feature = "management")]
mod management;
mod refusals;
mod rights;
mod routes;
mod scene;
mod topology;
