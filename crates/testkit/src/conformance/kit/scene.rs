use std::sync::Arc;

use anyhow::{Context as _, Result};
use polymq_core::broker::{Broker, ChannelSpec, Limits, Topology};
use polymq_core::config::Config;
use polymq_core::{ChannelName, GroupName, Message, Namespace, Running, Service};

use super::wait::soon;
use crate::Fixture;

/// One case's place on the broker: a namespace of its own.
pub(in crate::conformance) struct Scene<'a> {
    fixture: &'a dyn Fixture,
    namespace: Namespace,
}

impl<'a> Scene<'a> {
    pub(in crate::conformance) async fn new(fixture: &'a dyn Fixture) -> Result<Self> {
        Ok(Self { fixture, namespace: fixture.namespace().await.context("namespace")? })
    }

    pub(in crate::conformance) fn topology(&self, channels: Vec<ChannelSpec>) -> Topology {
        Topology { namespace: self.namespace.clone(), channels }
    }

    /// What the broker's capabilities come to for a queue.
    pub(in crate::conformance) async fn limits(&self) -> Result<Limits> {
        let broker = self.connect(vec![queue("q")?]).await?;
        let limits = broker.capabilities(&queue("q")?).limits;
        broker.close(soon()).await?;
        Ok(limits)
    }

    /// Connects without applying the topology.
    pub(in crate::conformance) async fn connect(
        &self,
        channels: Vec<ChannelSpec>,
    ) -> Result<Arc<dyn Broker>> {
        self.fixture.connect(self.topology(channels)).await.context("connect")
    }

    /// Connects and applies the topology.
    pub(in crate::conformance) async fn broker(
        &self,
        channels: Vec<ChannelSpec>,
    ) -> Result<Arc<dyn Broker>> {
        let broker = self.connect(channels).await?;
        let plan = broker.admin().plan().await.context("plan")?;
        broker.admin().apply(&plan).await.context("apply")?;
        Ok(broker)
    }

    /// Starts an app whose configuration has these tables beside the fixture's `[broker]`.
    pub(in crate::conformance) async fn start<S: Send + Sync + 'static>(
        &self,
        tables: &str,
        service: Service<S>,
    ) -> Result<Running> {
        let broker = self.fixture.config(&self.namespace);
        let text = format!("namespace = \"{}\"\n{broker}\n{tables}", self.namespace);
        let config = Config::builder().text("conformance.toml", text).build()?;
        Ok(self.fixture.app().serve(service).start(config).await?)
    }

    /// Puts a foreign client's message on a queue.
    pub(in crate::conformance) async fn publish_foreign(
        &self,
        spec: ChannelSpec,
        message: Message,
    ) -> Result<()> {
        let channel = spec.name.clone();
        let topology = self.topology(vec![spec]);
        Ok(self.fixture.publish_foreign(&topology, &channel, message).await?)
    }
}

pub(in crate::conformance) fn channel(name: &str) -> Result<ChannelName> {
    Ok(ChannelName::new(name)?)
}

pub(in crate::conformance) fn group(name: &str) -> Result<GroupName> {
    Ok(GroupName::new(name)?)
}

pub(in crate::conformance) fn queue(name: &str) -> Result<ChannelSpec> {
    Ok(ChannelSpec::queue(channel(name)?))
}

/// A queue that keeps the order of each key.
pub(in crate::conformance) fn ordered_queue(name: &str) -> Result<ChannelSpec> {
    let mut spec = queue(name)?;
    spec.ordered = true;
    Ok(spec)
}

pub(in crate::conformance) fn topic(name: &str, groups: &[&str]) -> Result<ChannelSpec> {
    let groups: Result<Vec<GroupName>> = groups.iter().copied().map(group).collect();
    Ok(ChannelSpec::topic(channel(name)?, groups?))
}
