//! The in-process harness: a whole service under test, in virtual time.
//!
//! Retries with backoff, dead letters and deduplication are hard to test where an hour of retries
//! takes an hour. So [`start`] runs the service that `main` runs, with its configuration file, on a
//! private memory broker and a clock that skips whatever nobody works in: a test publishes, waits
//! for [`idle`](TestApp::idle), and asks what happened.
//!
//! Virtual time passes whenever no task can run. So a handler that waits for something outside the
//! process, a database, say, may find its timeout over before the answer: give it a double, or wait
//! in `spawn_blocking`, which holds time.
//!
//! The same test runs on a real broker with [`start_on`] and, say, `polymq_testkit::rabbitmq()` of
//! the feature `rabbitmq`, or `kafka()` of the feature `kafka`: there time is real, and delays are waited for.
//!
//! ```
//! use polymq_core::config::Config;
//! use polymq_core::{Context, HandlerError, Message, Service};
//!
//! async fn flaky(line: Message, ctx: Context<()>) -> Result<(), HandlerError> {
//!     if ctx.attempt() == 1 { return Err("not today".into()); }
//!     ctx.publish_message("copies", Message::new(line.payload().cloned().unwrap_or_default()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let config = Config::builder().text("polymq.toml", r#"
//!     [broker]
//!     url = "amqp://rabbit.prod.example"          # never reached: the harness replaces it
//!     [channels.lines]
//!     kind = "queue"
//!     [channels.copies]
//!     kind = "queue"
//!     [consumers.copier]
//!     channel = "lines"
//!     outputs = ["copies"]
//!     retry = { immediate = 0, delayed = 3, base = "1h", max = "1h" }
//! "#);
//! let t = polymq_testkit::start(config, Service::new(()).on("copier", flaky)).await;
//! t.publish_message("lines", Message::new("hello")).await;
//! t.idle().await;                                 // the hour has passed
//! t.attempts("copier").assert_eq(2);
//! t.messages("copies").one(|m| m.payload().unwrap() == "hello");
//! t.dead_letters("copier").none();
//! # }
//! ```

mod app;
mod attempts;
mod broker;
mod configuration;
mod count;
mod dead_letters;
mod idle;
mod place;
mod published;
mod start;
mod time;

pub use app::TestApp;
pub use broker::{TestBroker, memory};
pub use configuration::Configuration;
pub use count::Count;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use idle::{Busy, idle};
pub use published::Published;
pub use start::{start, start_on};
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) use time::require_real_time;
