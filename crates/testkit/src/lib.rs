//! Tests for polymq services and adapters.

pub mod conformance;
mod fixture;
pub mod ledger;

pub use fixture::{Fixture, Lifecycle, MemoryFixture};
