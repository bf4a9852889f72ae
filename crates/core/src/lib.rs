//! The core of polymq.

#![forbid(unsafe_code)]

mod app;
pub mod broker;
mod clock;
pub mod config;
pub mod dedup;
mod error;
pub mod memory;
pub mod model;
pub mod observe;
pub mod pipeline;
pub mod publish;
mod service;
mod slots;

pub use app::{App, DrainReport, Running};
pub use clock::{Clock, SystemClock, VirtualClock, system_clock};
pub use error::{Error, ErrorKind, Result};
pub use model::{
    ChannelName, ConsumerName, Delivery, GroupName, Headers, Message, MessageId, Namespace, Origin,
    Payload, Position, Timestamp,
};
pub use pipeline::DeadLetterReason;
pub use publish::Publisher;
pub use service::{
    Call, Context, DeadLettered, HandlerError, Input, Middleware, Next, ResultExt, Retried, Service,
};
