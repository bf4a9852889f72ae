//! What an operator meets, on a real cluster. The conformance suite covers what all brokers have in common.

#![allow(clippy::unwrap_used, reason = "a test that finds something panics")]

mod browse;
mod depth;
#[path = "../../src/fixture.rs"]
mod fixture;
mod moves;
mod refusals;
mod scene;
mod topology;
