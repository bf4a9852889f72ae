//! The core of polymq.

#![forbid(unsafe_code)]

pub mod broker;
mod clock;
pub mod config;
pub mod dedup;
mod error;
pub mod model;
pub mod observe;
pub mod publish;
mod slots;

pub use clock::{Clock, SystemClock, VirtualClock, system_clock};
pub use error::{Error, ErrorKind, Result};
pub use model::{
    ChannelName, ConsumerName, Delivery, GroupName, Headers, Message, MessageId, Namespace, Origin,
    Payload, Position, Timestamp,
};
