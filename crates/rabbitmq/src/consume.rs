//! Receiving: one AMQP channel for each consumer, kept attached.
//!
//! The channel carries all that a group is fed from, its queue or its partitions and its retry inbox,
//! so one sequence of delivery tags numbers everything and one watermark settles it. What the broker
//! said about a delivery is worthless once its channel has ended, so a token names the *epoch* in which
//! it was handed out, and every new channel is a new epoch.

mod attachment;
mod plan;
mod receive;
mod sources;
mod state;
mod supervise;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::broker::{
    Capability, ChannelKind, Consumer, ConsumerStatus, EventSender, Events, Settlement,
    Subscription, Token, Unit,
};
use polymq_core::{Delivery, Error, Result};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::error;
use crate::layout::GroupLayout;
use crate::link;
use crate::settle;
use plan::Plan;
use receive::Intake;
use supervise::Supervisor;

pub(crate) use attachment::Attachment;
pub(crate) use state::{Shared, State};

/// What a consumer is attached to.
#[derive(Debug)]
pub(crate) struct Attach {
    /// How the connection for consuming stands.
    pub(crate) link: watch::Receiver<link::State>,
    pub(crate) group: GroupLayout,
    pub(crate) kind: ChannelKind,
    /// `group` has a queue for each partition.
    pub(crate) ordered: bool,
    pub(crate) subscription: Subscription,
    /// Tells the consumers of a broker apart: in their tokens.
    pub(crate) number: u32,
    /// The broker's events, which repeat what people have to act on.
    pub(crate) broker_events: EventSender,
}

/// A subscription to one group.
#[derive(Debug)]
pub(crate) struct RabbitmqConsumer {
    shared: Arc<Shared>,
    /// Held by the one `recv` call that waits.
    intake: tokio::sync::Mutex<Intake>,
    link: watch::Receiver<link::State>,
    events: EventSender,
    number: u32,
    ordered: bool,
    supervisor: AbortOnDropHandle<()>,
}

impl RabbitmqConsumer {
    /// Attaches, by `deadline`; tries again while the connection is away.
    ///
    /// # Errors
    /// `NotFound` for a queue that isn't there, `PermissionDenied` for one that the user may not read.
    /// At the deadline, why there is no connection.
    pub(crate) async fn attach(wanted: Attach, deadline: Instant) -> Result<Self> {
        let Attach { mut link, group, kind, ordered, subscription, number, broker_events } = wanted;
        let plan = Plan::new(&group, ordered, &subscription);
        let named = |e: Error| e.with_operation("subscribe").with_channel(&subscription.channel);
        let (session, (attachment, sources)) = loop {
            let session = link::session(&mut link, deadline).await.map_err(named)?;
            match plan.attach(&session, deadline).await {
                Ok(attached) => break (session.number, attached),
                Err(refusal) if session.is_up() => return Err(named(refusal.error)),
                Err(refusal) => tracing::debug!(error = %refusal.error, "not attached yet"),
            }
        };
        let shared = Arc::new(Shared::default());
        shared.install(attachment, sources);
        let events = EventSender::default();
        let supervisor = Supervisor {
            shared: Arc::clone(&shared),
            link: link.clone(),
            plan,
            events: events.clone(),
            broker_events,
            number,
            name: subscription.consumer.to_string(),
        };
        let intake = Intake::new(&subscription, kind, ordered, number);
        Ok(Self {
            shared,
            intake: tokio::sync::Mutex::new(intake),
            link,
            events,
            number,
            ordered,
            supervisor: AbortOnDropHandle::new(tokio::spawn(supervisor.run(session))),
        })
    }
}

#[async_trait]
impl Consumer for RabbitmqConsumer {
    async fn recv(&self, max: usize) -> Result<Vec<Delivery>> {
        let mut intake = self.intake.lock().await;
        std::future::poll_fn(|cx| intake.poll(cx, &self.shared, max)).await
    }

    async fn settle(
        &self,
        settlements: &[(Token, Settlement)],
        deadline: Instant,
    ) -> Vec<Result<()>> {
        settle::settle(&self.shared, self.number, self.ordered, settlements, deadline).await
    }

    /// RabbitMQ has no lease to extend: a delivery is ours as long as its AMQP channel is.
    async fn extend(&self, tokens: &[Token], _deadline: Instant) -> Vec<Result<()>> {
        let state = self.shared.lock();
        let is_ours = |token: &Token| {
            state.is_current(*token, self.number) && state.watermark.is_in_hand(token.slot)
        };
        tokens.iter().map(|token| is_ours(token).then_some(()).ok_or_else(error::stale)).collect()
    }

    async fn commit(&self, units: Vec<Unit>, _deadline: Instant) -> Vec<Result<()>> {
        units.iter().map(|_| Err(error::unsupported(Capability::Atomic))).collect()
    }

    fn pause(&self) {
        self.shared.set_paused(true);
    }

    fn resume(&self) {
        self.shared.set_paused(false);
    }

    fn events(&self) -> Events {
        self.events.subscribe()
    }

    fn status(&self) -> ConsumerStatus {
        let mut status = ConsumerStatus::default();
        status.connected =
            matches!(&*self.link.borrow(), link::State::Up(session) if session.is_up());
        let state = self.shared.lock();
        let attached = state.attachment.as_ref().is_some_and(|a| a.is_up());
        status.attached = status.connected && attached && state.lost.is_none();
        status.paused = state.paused;
        status.in_flight = state.watermark.in_hand();
        status.buffered = state.buffered;
        status
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.shared.shut();
        let given_up = self.shared.lock().detach(self.number);
        self.supervisor.abort();
        given_up.close(deadline).await
    }
}

impl Drop for RabbitmqConsumer {
    fn drop(&mut self) {
        self.shared.shut();
        // Before the sources, which the intake holds, are dropped.
        drop(self.shared.lock().detach(self.number));
    }
}
