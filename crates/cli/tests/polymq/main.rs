//! The real binary, as a process: what a shell, a script and an operator see.
//!
//! What needs messages to pass between processes runs on a RabbitMQ, which `polymq_testkit` finds or
//! starts; the rest on the embedded broker.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bed;
mod broker_trouble;
mod configuration;
mod docs;
mod operator;
mod pipes;
mod publish;
mod subscribe;
