use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::broker::{Adapter, Broker, ChannelFacts, ChannelSpec, Connect, Topology};
use polymq_core::config::Settings;
use polymq_core::{Error, Result};

use super::Faults;
use super::broker::FaultyBroker;

/// An adapter whose brokers and consumers misbehave on command. It has the name and the schemes
/// of the one inside, and takes its place in an [`App`](polymq_core::App).
#[derive(Debug, Clone)]
pub struct FaultyAdapter {
    inner: Arc<dyn Adapter>,
    faults: Faults,
}

impl FaultyAdapter {
    /// Wraps an adapter, and gives the hand on it.
    #[must_use]
    pub fn new(inner: impl Adapter) -> (Self, Faults) {
        let faults = Faults::new();
        (Self::with(Arc::new(inner), faults.clone()), faults)
    }

    /// Wraps an adapter under a handle that other wrappers share.
    #[must_use]
    pub fn with(inner: Arc<dyn Adapter>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Adapter for FaultyAdapter {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        self.inner.check_broker(settings)
    }

    fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        self.inner.check_channel(settings)
    }

    fn versions(&self) -> &'static [&'static str] {
        self.inner.versions()
    }

    fn describe(
        &self,
        version: &str,
        settings: &Settings,
        topology: &Topology,
        channel: &ChannelSpec,
    ) -> Result<ChannelFacts> {
        self.inner.describe(version, settings, topology, channel)
    }

    async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>> {
        let inner = self.faults.living(self.inner.connect(request)).await?;
        Ok(Arc::new(FaultyBroker::new(inner, self.faults.clone())))
    }
}
