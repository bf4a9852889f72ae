//! Tests for polymq services and adapters.

#![forbid(unsafe_code)]

pub mod faults;
