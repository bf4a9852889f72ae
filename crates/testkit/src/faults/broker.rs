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
        let (faults, inner) = (&self.faults, &self.inner);
        let (records, items) = (faults.record(sends.iter()), sends.len());
        let work = move |n| async move {
            let sends: Vec<Send> = sends.into_iter().take(n).collect();
            let publish = |sends| inner.publish(sends, deadline);
            let outcomes = match faults.plans_of(sends.iter().map(std::slice::from_ref)) {
                None => publish(sends).await,
                Some(plans) => strike(Operation::Publish, sends, plans, deadline, publish).await,
            };
            faults.answered(records, outcomes.iter().map(SendOutcome::from));
            outcomes
        };
        let published = faults.effect(Operation::Publish, items, work);
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
