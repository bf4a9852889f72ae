//! Brokers and stores that misbehave on command.
//!
//! What a service does when its broker rejects, stays silent or loses an answer, and what is left
//! when its process dies between two steps, cannot be seen on a broker that works. So the wrappers
//! here stand around an adapter and a deduplication store that do work: they forward everything, record
//! it, and fail where a test says so.
//!
//! - **Plans** make operations fail: [`Faults::fail`], [`Faults::fail_publish`].
//! - **Records** tell what was sent, and what became of it: [`Faults::sends`].
//! - **Crash points** stop the process, as far as broker and store can tell, right before or right
//!   after an operation took effect: [`Faults::crash_at`].
//!
//! ```
//! use polymq_core::{App, Message, ErrorKind, Service, config::Config, memory};
//! use polymq_testkit::faults::{FaultyAdapter, PublishFault};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), polymq_core::Error> {
//! let config = Config::builder().text("polymq.toml", r#"
//!     [broker]
//!     url = "memory://"
//!     [channels.lines]
//!     kind = "queue"
//! "#).build()?;
//! let (adapter, faults) = FaultyAdapter::new(memory::adapter());
//! let running = App::with(adapter).start(config).await?;
//!
//! let full = faults.fail_publish(|_| true, PublishFault::Rejected(ErrorKind::TooLarge)).times(1);
//! let refused = running.publisher().publish_message("lines", Message::new("a")).await;
//! assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooLarge);
//! running.publisher().publish_message("lines", Message::new("b")).await?;
//!
//! let sends = faults.sends();
//! assert_eq!(sends.len(), 2);
//! assert!(sends[1].outcome.is_confirmed());
//! # Ok(())
//! # }
//! ```

mod adapter;
mod broker;
mod consumer;
mod crash;
mod handle;
mod plan;
mod record;
mod store;
mod strike;
#[cfg(test)]
mod tests;

pub use adapter::FaultyAdapter;
pub use crash::{CrashPoint, Operation, When};
pub use handle::Faults;
pub use plan::{Plan, PublishFault};
pub use record::{SendOutcome, SendRecord};
pub use store::FaultyStore;
