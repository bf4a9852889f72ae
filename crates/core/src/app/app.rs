use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::Running;
use super::signal::stop_requested;
use super::start::start;
use crate::broker::Adapter;
use crate::clock::{Clock, system_clock};
use crate::config::{Config, ConfigBuilder};
use crate::dedup::DedupStore;
use crate::service::{Binding, Hooks, Service};
use crate::{Error, ErrorKind, Result};

/// What a process is made of: adapters, a service, stores, a clock.
///
/// ```
/// use polymq_core::config::Config;
/// use polymq_core::{App, Context, HandlerError, Message, Service};
///
/// async fn print(message: Message, _: Context<()>) -> Result<(), HandlerError> {
///     println!("{:?}", message.payload());
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), polymq_core::Error> {
/// let config = r#"
///     [broker]
///     url = "memory://"
///     [channels.lines]
///     kind = "queue"
///     [consumers.printer]
///     channel = "lines"
/// "#;
/// let config = Config::builder().text("polymq.toml", config).build()?;
/// let running = App::new().serve(Service::new(()).on("printer", print)).start(config).await?;
/// running.publisher().publish_message("lines", Message::new("hello")).await?;
/// let report = running.drain().await;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
pub struct App {
    pub(super) adapters: Vec<Arc<dyn Adapter>>,
    pub(super) bindings: BTreeMap<String, Binding>,
    pub(super) hooks: Hooks,
    pub(super) stores: BTreeMap<String, Arc<dyn DedupStore>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("adapters", &self.adapters)
            .field("consumers", &self.bindings.keys())
            .finish_non_exhaustive()
    }
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// An app that knows the embedded in-memory broker and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self {
            adapters: vec![Arc::new(crate::memory::adapter())],
            bindings: BTreeMap::new(),
            hooks: Hooks::default(),
            stores: BTreeMap::new(),
            clock: system_clock(),
        }
    }

    /// An app that knows another adapter too.
    #[must_use]
    pub fn with(adapter: impl Adapter) -> Self {
        Self::new().adapter(adapter)
    }

    /// Adds an adapter; one with the same name is replaced.
    #[must_use]
    pub fn adapter(mut self, adapter: impl Adapter) -> Self {
        self.adapters.retain(|a| a.name() != adapter.name());
        self.adapters.push(Arc::new(adapter));
        self
    }

    /// Sets the service whose handlers run. Without one, the app only publishes.
    #[must_use]
    pub fn serve<S: Send + Sync + 'static>(mut self, service: Service<S>) -> Self {
        (self.bindings, self.hooks) = service.into_bindings();
        self
    }

    /// Registers a deduplication store under the name that `dedup.store` uses. The name `memory`
    /// stands for a store in the process unless it is registered.
    #[must_use]
    pub fn dedup_store(mut self, name: &str, store: Arc<dyn DedupStore>) -> Self {
        self.stores.insert(name.to_owned(), store);
        self
    }

    /// Replaces the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Reads a configuration from a file and the environment, for the adapters of this app.
    ///
    /// # Errors
    /// `Config`, with every problem.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Config> {
        self.layers(path).build()
    }

    /// The layers that [`load`](App::load) reads, to set keys over them.
    ///
    /// ```
    /// # fn main() -> Result<(), polymq_core::Error> {
    /// # let path = std::env::temp_dir().join(format!("polymq-layers-{}.toml", std::process::id()));
    /// # std::fs::write(&path, "[broker]\nurl = 'memory://'").unwrap();
    /// let app = polymq_core::App::new();
    /// let config = app.layers(&path).set("broker.url", "memory://tests").build()?;
    /// # Ok(()) }
    /// ```
    pub fn layers(&self, path: impl AsRef<Path>) -> ConfigBuilder {
        Config::builder().file(path).env().adapters(&self.adapters)
    }

    /// Connects, checks, and starts every consumer that the service has handlers for.
    ///
    /// Consumers of the configuration without a handler are not run, which is logged: several
    /// services may share one file.
    ///
    /// # Errors
    /// `Config` when the service doesn't fit the configuration or the broker cannot do what it
    /// needs, with every problem; `TopologyMismatch`; the brokers' own errors. Nothing keeps
    /// running.
    pub async fn start(self, config: Config) -> Result<Running> {
        start(self, config).await
    }

    /// Loads the file, runs until SIGTERM or Ctrl-C, drains, and prints the report to stderr. A
    /// second signal stops at once.
    ///
    /// A handler that never yields cannot be cancelled, and would keep the runtime from ending:
    /// when one is left at the deadline, the process exits with status 70 after the report.
    ///
    /// # Errors
    /// As [`App::start`]; `Timeout` when the drain left something behind.
    #[allow(clippy::print_stderr, reason = "the report is for whoever runs the process")]
    pub async fn run(self, path: impl AsRef<Path>) -> Result<()> {
        let config = self.load(path)?;
        let running = self.start(config).await?;
        stop_requested().await;
        let report = tokio::select! {
            report = running.drain() => report,
            () = stop_requested() => {
                return Err(Error::new(ErrorKind::Closed, "stopped by a second signal, undrained"));
            }
        };
        eprintln!("{report}");
        if report.stuck() > 0 {
            std::process::exit(70);
        }
        if report.is_clean() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Timeout, "the drain left messages behind; they come again")
            .with_operation("drain")
            .with_help("raise drain_timeout, or make handlers faster"))
    }
}
