use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use polymq_core::broker::{Broker, Topology};
use polymq_core::{App, ChannelName, Message, Namespace, Result};

use crate::{Fixture, Lifecycle};

/// A fixture for one case: remembers the case's namespaces, to discard them when it has ended,
/// however it ended.
#[derive(Debug)]
pub(super) struct Namespaces<'a> {
    fixture: &'a dyn Fixture,
    made: Mutex<Vec<Namespace>>,
}

impl<'a> Namespaces<'a> {
    pub(super) fn of(fixture: &'a dyn Fixture) -> Self {
        Self { fixture, made: Mutex::default() }
    }

    /// Discards every namespace that was made.
    pub(super) async fn discard_all(self) -> Result<()> {
        for namespace in self.made.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.fixture.discard(&namespace).await?;
        }
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Fixture for Namespaces<'_> {
    fn name(&self) -> String {
        self.fixture.name()
    }

    fn app(&self) -> App {
        self.fixture.app()
    }

    fn config(&self, namespace: &Namespace) -> String {
        self.fixture.config(namespace)
    }

    async fn namespace(&self) -> Result<Namespace> {
        let namespace = self.fixture.namespace().await?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        Ok(namespace)
    }

    async fn discard(&self, namespace: &Namespace) -> Result<()> {
        self.fixture.discard(namespace).await
    }

    async fn connect(&self, topology: Topology) -> Result<Arc<dyn Broker>> {
        self.fixture.connect(topology).await
    }

    async fn publish_foreign(
        &self,
        topology: &Topology,
        channel: &ChannelName,
        message: Message,
    ) -> Result<()> {
        self.fixture.publish_foreign(topology, channel, message).await
    }

    fn lifecycle(&self) -> Lifecycle {
        self.fixture.lifecycle()
    }

    async fn stop(&self) -> Result<()> {
        self.fixture.stop().await
    }

    async fn kill(&self) -> Result<()> {
        self.fixture.kill().await
    }

    async fn start(&self) -> Result<()> {
        self.fixture.start().await
    }
}
