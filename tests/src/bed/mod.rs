//! A place to run services in: one embedded broker and one virtual clock, which outlive every service
//! that is started, stopped or crashed on them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test bed fails by panicking")]

mod fixtures;
mod log;
mod look;
mod wait;

use std::sync::Arc;

pub use fixtures::{MAILER, Order, Receipt, keyed, mailer, order, ordered_mailer};
pub use log::Log;
pub use look::{
    dead_letters, delayed, depth, depth_of_group, depth_of_inbox, hop, hop_number, peek, queued,
};
pub use wait::{pass, seconds, tally, until, until_dead, until_handled, until_state};

use polymq_core::broker::Capability;
use polymq_core::config::Config;
use polymq_core::dedup::{DedupStore, MemoryDedupStore};
use polymq_core::memory::{MemoryOptions, MemoryServer};
use polymq_core::{App, Clock, Result, Running, Service, Timestamp, VirtualClock};
use polymq_testkit::faults::{Faults, FaultyAdapter, FaultyStore};

/// A broker, a clock, and a hand on what goes wrong between them and the service.
#[derive(Debug, Clone)]
pub struct Bed {
    /// The broker behind every service.
    pub server: MemoryServer,
    /// Makes the broker misbehave.
    pub faults: Faults,
    /// The clock of every service.
    pub clock: Arc<VirtualClock>,
}

impl Default for Bed {
    /// A bed whose broker publishes and acks in two steps, as most do.
    fn default() -> Self {
        Self::with(MemoryOptions::default().without(Capability::Atomic))
    }
}

impl Bed {
    /// A bed whose broker has these options.
    #[must_use]
    pub fn with(options: MemoryOptions) -> Self {
        Self {
            server: MemoryServer::new(options),
            faults: Faults::new(),
            clock: Arc::new(VirtualClock::default()),
        }
    }

    /// A bed whose broker sends and acks both or not at all.
    #[must_use]
    pub fn atomic() -> Self {
        Self::with(MemoryOptions::default())
    }

    /// The same broker and clock, for a process that is not affected by the faults of this one.
    #[must_use]
    pub fn another_process(&self) -> Self {
        Self { faults: Faults::new(), ..self.clone() }
    }

    /// A deduplication store that outlives services, fails as [`faults`](Self::faults) say, and
    /// is to be registered under a name of its own.
    #[must_use]
    pub fn store(&self, inner: &Arc<MemoryDedupStore>) -> Arc<dyn DedupStore> {
        let inner = Arc::clone(inner) as Arc<dyn DedupStore>;
        Arc::new(FaultyStore::new(inner, self.faults.clone()))
    }

    /// An empty store on the bed's clock.
    #[must_use]
    pub fn empty_store(&self) -> Arc<MemoryDedupStore> {
        Arc::new(MemoryDedupStore::new(Arc::clone(&self.clock) as Arc<dyn Clock>))
    }

    /// An app on the bed's broker and clock.
    #[must_use]
    pub fn app(&self) -> App {
        let inner = Arc::new(self.server.adapter());
        App::with(FaultyAdapter::with(inner, self.faults.clone()))
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    /// What the clock says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Reads a configuration for the memory broker.
    #[must_use]
    pub fn config(&self, text: &str) -> Config {
        let builder = Config::builder().text("polymq.toml", text);
        let built = builder.adapters(&[Arc::new(self.server.adapter())]).build();
        built.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts a service.
    pub async fn start<S>(&self, config: &str, service: Service<S>) -> Running
    where
        S: Send + Sync + 'static,
    {
        let started = self.try_start(config, service).await;
        started.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts a service that may be refused.
    ///
    /// # Errors
    /// Whatever the start fails with.
    pub async fn try_start<S>(&self, config: &str, service: Service<S>) -> Result<Running>
    where
        S: Send + Sync + 'static,
    {
        self.app().serve(service).start(self.config(config)).await
    }

    /// Starts a service with a store called `shared`.
    pub async fn start_with<S>(
        &self,
        store: &Arc<MemoryDedupStore>,
        config: &str,
        service: Service<S>,
    ) -> Running
    where
        S: Send + Sync + 'static,
    {
        let app = self.app().serve(service).dedup_store("shared", self.store(store));
        app.start(self.config(config)).await.unwrap_or_else(|e| panic!("{e}"))
    }
}
