//! The core of polymq.

#![forbid(unsafe_code)]

pub mod broker;
mod clock;
pub mod config;
mod error;
pub mod memory;
pub mod model;

pub use clock::{Clock, SystemClock, VirtualClock, system_clock};
pub use error::{Error, ErrorKind, Result};
pub use model::{
    ChannelName, ConsumerName, Delivery, GroupName, Headers, Message, MessageId, Namespace, Origin,
    Payload, Position, Timestamp,
};
