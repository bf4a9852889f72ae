//! One messaging API over several brokers, chosen by configuration.
//!
//! A service names logical channels; a file binds them to a broker; changing the broker's URL moves
//! producers and consumers to another one. Retry, dead-lettering and deduplication are written once
//! and mean the same everywhere, and what a broker cannot do is refused at start, with the fix.
//!
//! This crate is the façade: cargo features register adapters, [`prelude`] has what services use,
//! and [`run`] is all that `main` needs. The embedded in-memory broker (`memory://`) is always
//! there. A service that wants fewer dependencies takes `polymq-core` and one adapter instead.
//!
//! ```no_run
//! use polymq::prelude::*;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct OrderPlaced { order: String }
//! impl Payload for OrderPlaced { const TYPE: &'static str = "order.placed"; }
//!
//! async fn print(o: OrderPlaced, _: Context<()>) -> Result<(), HandlerError> {
//!     println!("{}", o.order);
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), polymq::Error> {
//!     polymq::run("polymq.toml", Service::new(()).on("printer", print)).await
//! }
//! ```

#![forbid(unsafe_code)]

use std::path::Path;

pub use polymq_core::*;

/// What services use, in one import.
pub mod prelude {
    pub use polymq_core::{
        App, Context, HandlerError, Message, Payload, Publisher, ResultExt, Service,
    };
}

/// An [`App`] with every adapter that the cargo features compile in.
#[must_use]
pub fn app() -> App {
    let app = App::new();
    #[cfg(feature = "kafka")]
    let app = app.adapter(polymq_kafka::adapter());
    #[cfg(feature = "rabbitmq")]
    let app = app.adapter(polymq_rabbitmq::adapter());
    app
}

/// Runs a service from one configuration file until SIGTERM or Ctrl-C, then drains and prints the
/// report to stderr: [`App::run`] with every adapter that is compiled in.
///
/// # Errors
/// As [`App::run`].
pub async fn run<S: Send + Sync + 'static>(
    config: impl AsRef<Path>,
    service: Service<S>,
) -> Result<()> {
    app().serve(service).run(config).await
}
