//! The core of polymq: one messaging API over several brokers, in which retry, dead-lettering and
//! deduplication are written once and mean the same everywhere.
//!
//! Who comes here for what:
//!
//! - **A service** brings a [`Service`] of handlers over [`Payload`]s and runs it with an [`App`] and
//!   one configuration file: see [`config`]. What happens between a delivery and its handler is
//!   described in [`pipeline`]; what a publish guarantees, at [`Publisher`].
//! - **An adapter** implements the traits in [`broker`], whose documentation is the contract;
//!   [`memory`] is the reference.
//! - **A store** for deduplication implements [`dedup::DedupStore`].
//! - **An operator** finds metrics, spans and trace context in [`observe`], and the broker's operator
//!   side in [`broker::Admin`]; how a channel lands on its broker, in [`explain`].
//!
//! Dependencies point down: the traits know nothing of the pipeline, adapters know nothing of retries.
//!
//! ```
//! use polymq_core::config::Config;
//! use polymq_core::{App, Context, HandlerError, Payload, Service};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct OrderPlaced {
//!     order: String,
//! }
//! impl Payload for OrderPlaced {
//!     const TYPE: &'static str = "order.placed";
//! }
//!
//! async fn ship(order: OrderPlaced, ctx: Context<()>) -> Result<(), HandlerError> {
//!     println!("shipping {}, attempt {}", order.order, ctx.attempt());
//!     Ok(()) // an error is retried, then dead-lettered
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), polymq_core::Error> {
//! let file = r#"
//!     [broker]
//!     url = "memory://"
//!     [channels.orders]
//!     kind = "queue"
//!     [consumers.shipping]
//!     channel = "orders"
//! "#;
//! let config = Config::builder().text("polymq.toml", file).build()?;
//! let running = App::new().serve(Service::new(()).on("shipping", ship)).start(config).await?;
//! running.publisher().publish("orders", &OrderPlaced { order: "42".into() }).await?;
//! # while running.state("shipping")?.tally.handled == 0 { tokio::task::yield_now().await }
//! println!("{}", running.drain().await);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod app;
pub mod broker;
mod clock;
pub mod config;
pub mod dedup;
mod error;
pub mod explain;
mod guard;
pub mod memory;
pub mod model;
pub mod observe;
pub mod pipeline;
pub mod publish;
mod service;
mod slots;

pub use app::{App, Connection, DrainReport, Running, stop_requested};
pub use clock::{Clock, SystemClock, VirtualClock, system_clock};
pub use error::{Error, ErrorKind, Result};
pub use model::{
    ChannelName, ConsumerName, Delivery, GroupName, Headers, Message, MessageId, Namespace, Origin,
    Payload, Position, SubjectPattern, Timestamp,
};
pub use pipeline::DeadLetterReason;
pub use publish::Publisher;
pub use service::{
    Call, Context, DeadLettered, HandlerError, Input, Middleware, Next, ResultExt, Retried, Service,
};
