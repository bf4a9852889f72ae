use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::Result;
use polymq_core::broker::{
    Admin, Broker, BrokerInfo, Capabilities, ChannelSpec, Consumer, Events, Outcome, Send,
    Subscription,
};
use polymq_core::model::Message;
use tokio::time::Instant;

use super::consumer::FaultyConsumer;
use super::strike::strike;
use super::{Faults, Operation, SendOutcome};

#[derive(Debug)]
pub(super) struct FaultyBroker {
    inner: Arc<dyn Broker>,
    faults: Faults,
}

impl FaultyBroker {
    pub(super) fn new(inner: Arc<dyn Broker>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Broker for FaultyBroker {
    fn info(&self) -> &BrokerInfo {
        self.inner.info()
    }

    fn capabilities(&self, channel: &ChannelSpec) -> Capabilities {
        self.inner.capabilities(channel)
    }

    fn wire_size(&self, message: &Message) -> usize {
        self.inner.wire_size(message)
    }

    async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        self.faults.alive().await;
        let records = self.faults.record(sends.iter());
        let published = self.faults.effect(Operation::Publish, async {
            let publish = |sends| self.inner.publish(sends, deadline);
            let outcomes = match self.faults.plans_of(sends.iter().map(std::slice::from_ref)) {
                None => publish(sends).await,
                Some(faults) => strike(Operation::Publish, sends, faults, deadline, publish).await,
            };
            self.faults.answered(records, outcomes.iter().map(SendOutcome::from));
            outcomes
        });
        // Faults of a publish are planned per send, never for the call.
        published.await.unwrap_or_default()
    }

    async fn subscribe(
        &self,
        subscription: Subscription,
        deadline: Instant,
    ) -> Result<Arc<dyn Consumer>> {
        let inner = self.faults.living(self.inner.subscribe(subscription, deadline)).await?;
        Ok(Arc::new(FaultyConsumer::new(inner, self.faults.clone())))
    }

    fn events(&self) -> Events {
        self.inner.events()
    }

    fn admin(&self) -> &dyn Admin {
        self.inner.admin()
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.faults.living(self.inner.close(deadline)).await
    }
}
