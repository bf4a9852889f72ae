//! Publishing: many tasks that publish one message each reach the throughput of explicit batches.
//!
//! A [`Publisher`] checks a message against its channel, stamps it, and hands it to the pump of the
//! channel's broker. The pump sends at once when nothing is in flight and batches what arrives
//! meanwhile; nothing ever waits longer than 5 ms for company.

mod gate;
mod limits;
mod publisher;
mod pump;
mod route;

pub(crate) use limits::{HOP_RESERVE, check_limits};
pub use publisher::{PublishOptions, Publisher};
pub(crate) use pump::{Pump, PumpTask};
pub(crate) use route::{Route, Routes};
