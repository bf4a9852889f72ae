use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::broker::{Broker, Topology};
use polymq_core::{App, ChannelName, Error, ErrorKind, Message, Namespace, Result};

/// Whether a fixture can take its broker down and bring it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// It cannot, for this reason: cases that need it are not applicable.
    None(String),
    /// [`Fixture::stop`], [`Fixture::kill`] and [`Fixture::start`] work, and what the broker has
    /// confirmed outlives them.
    Restartable,
}

/// A broker for tests, as the conformance suite sees it: implemented once per adapter.
///
/// One fixture stands for one running broker, which all cases share at the same time; namespaces
/// keep them apart. A fixture whose broker cannot be reached fails, it does not skip. It may run in
/// real or in paused time.
#[async_trait]
pub trait Fixture: fmt::Debug + Send + Sync {
    /// What the report calls it, such as `rabbitmq 4.3`.
    fn name(&self) -> String;

    /// An app that knows the adapter.
    fn app(&self) -> App;

    /// The `[broker]` table, and its adapter's own, of a configuration for this broker, as TOML.
    fn config(&self, namespace: &Namespace) -> String;

    /// A namespace that nobody else uses.
    async fn namespace(&self) -> Namespace;

    /// A new connection to the broker; several may be open. The topology is not applied.
    ///
    /// # Errors
    /// What the adapter says.
    async fn connect(&self, topology: Topology) -> Result<Arc<dyn Broker>>;

    /// Puts a message on a channel of an applied topology as a foreign client would: without any
    /// header of polymq's, and up to the broker's own limit on size.
    ///
    /// # Errors
    /// What the broker says.
    async fn publish_foreign(
        &self,
        topology: &Topology,
        channel: &ChannelName,
        message: Message,
    ) -> Result<()>;

    /// Whether [`stop`](Fixture::stop), [`kill`](Fixture::kill) and [`start`](Fixture::start) work.
    fn lifecycle(&self) -> Lifecycle;

    /// Stops the broker in an orderly way.
    ///
    /// # Errors
    /// `Unsupported` unless the fixture is restartable; what the broker's environment says.
    async fn stop(&self) -> Result<()> {
        Err(not_restartable("stop"))
    }

    /// Ends the broker without a warning, as `kill -9` does.
    ///
    /// # Errors
    /// As [`stop`](Fixture::stop).
    async fn kill(&self) -> Result<()> {
        Err(not_restartable("kill"))
    }

    /// Starts the broker again, at the same address, and waits until it takes connections.
    ///
    /// # Errors
    /// As [`stop`](Fixture::stop).
    async fn start(&self) -> Result<()> {
        Err(not_restartable("start"))
    }
}

fn not_restartable(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "this fixture has no hold on its broker's process")
        .with_operation(operation)
}
