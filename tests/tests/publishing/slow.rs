//! A broker whose every publish takes 10 ms.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::broker::{
    Adapter, Admin, Broker, BrokerInfo, Capabilities, ChannelFacts, ChannelSpec, Connect, Consumer,
    Events, Outcome, Send, Subscription, Topology,
};
use polymq_core::config::Settings;
use polymq_core::{Error, Message, Result, Running};
use polymq_testkit::faults::FaultyAdapter;
use polymq_tests::bed::Bed;
use tokio::time::Instant;

pub(super) const TAKES: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Slow<T: ?Sized>(Arc<T>);

#[async_trait]
impl Adapter for Slow<dyn Adapter> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.0.schemes()
    }

    fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        self.0.check_broker(settings)
    }

    fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        self.0.check_channel(settings)
    }

    fn versions(&self) -> &'static [&'static str] {
        self.0.versions()
    }

    fn describe(
        &self,
        version: &str,
        settings: &Settings,
        topology: &Topology,
        channel: &ChannelSpec,
    ) -> Result<ChannelFacts> {
        self.0.describe(version, settings, topology, channel)
    }

    async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>> {
        Ok(Arc::new(Slow(self.0.connect(request).await?)))
    }
}

#[async_trait]
impl Broker for Slow<dyn Broker> {
    fn info(&self) -> &BrokerInfo {
        self.0.info()
    }

    fn capabilities(&self, channel: &ChannelSpec) -> Capabilities {
        self.0.capabilities(channel)
    }

    fn wire_size(&self, message: &Message) -> usize {
        self.0.wire_size(message)
    }

    async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        tokio::time::sleep(TAKES).await;
        self.0.publish(sends, deadline).await
    }

    async fn subscribe(&self, s: Subscription, deadline: Instant) -> Result<Arc<dyn Consumer>> {
        self.0.subscribe(s, deadline).await
    }

    fn events(&self) -> Events {
        self.0.events()
    }

    fn admin(&self) -> &dyn Admin {
        self.0.admin()
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.0.close(deadline).await
    }
}

/// Starts on a broker whose publishes take [`TAKES`].
pub(super) async fn start_slow(bed: &Bed, text: &str) -> Running {
    let memory: Arc<dyn Adapter> = Arc::new(bed.server.adapter());
    let inner: Arc<dyn Adapter> = Arc::new(Slow(memory));
    let faulty = FaultyAdapter::with(inner, bed.faults.clone());
    bed.app().adapter(faulty).start(bed.config(text)).await.unwrap()
}
