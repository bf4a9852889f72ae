use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::broker::{
    Admin, Broker, BrokerInfo, Capabilities, ChannelSpec, Consumer, Events, Outcome, Send,
    Subscription,
};
use polymq_core::model::Message;
use polymq_core::{ErrorKind, Result};
use tokio::time::{Instant, sleep_until};

use super::consumer::FaultyConsumer;
use super::plan::Planned;
use super::{Faults, Operation, PublishFault, SendOutcome};

#[derive(Debug)]
pub(super) struct FaultyBroker {
    inner: Arc<dyn Broker>,
    faults: Faults,
}

impl FaultyBroker {
    pub(super) fn new(inner: Arc<dyn Broker>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    /// Publishes what is not planned to get lost, and answers for the rest.
    async fn misbehave(
        &self,
        sends: Vec<Send>,
        faults: Vec<Option<PublishFault>>,
        deadline: Instant,
    ) -> Vec<Outcome> {
        let silent = faults.contains(&Some(PublishFault::Silent));
        let (forwarded, kept): (Vec<_>, Vec<_>) = sends
            .into_iter()
            .zip(faults.iter().copied())
            .partition(|(_, fault)| matches!(fault, None | Some(PublishFault::Unconfirmed(_))));
        drop(kept);
        let forwarded = forwarded.into_iter().map(|(send, _)| send).collect();
        let mut answers = self.inner.publish(forwarded, deadline).await.into_iter();
        let outcomes =
            faults.into_iter().filter_map(|fault| outcome(fault, &mut answers)).collect();
        if silent {
            sleep_until(deadline).await;
        }
        outcomes
    }
}

fn outcome(
    fault: Option<PublishFault>,
    answers: &mut impl Iterator<Item = Outcome>,
) -> Option<Outcome> {
    let error = |kind| Planned { operation: Operation::Publish, kind }.into();
    match fault {
        None => answers.next(),
        Some(PublishFault::Unconfirmed(kind)) => match answers.next()? {
            Outcome::Confirmed(_) => Some(Outcome::Unconfirmed(error(kind))),
            failed => Some(failed),
        },
        Some(PublishFault::Lost(kind)) => Some(Outcome::Unconfirmed(error(kind))),
        Some(PublishFault::Silent) => Some(Outcome::Unconfirmed(error(ErrorKind::Timeout))),
        Some(PublishFault::Rejected(kind)) => Some(Outcome::Rejected(error(kind))),
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
            let outcomes = match self.faults.plans_of(&sends) {
                None => self.inner.publish(sends, deadline).await,
                Some(faults) => self.misbehave(sends, faults, deadline).await,
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
