//! Receiving: AMQP channels for each consumer, kept attached.
//!
//! A consumer without order has one AMQP channel, which carries its queue and its retry inbox. So one
//! sequence of delivery tags numbers everything and one watermark settles it. An ordered consumer has one
//! for its retry inbox and one for each partition that it holds, so that a partition can be given back,
//! in order, while the others go on.
//!
//! What the broker said about a delivery is worthless once its AMQP channel has ended, so a token names
//! the [lane](lane::Lane), one life of one channel, that it was handed out on.

mod attachment;
mod claims;
mod lane;
mod plan;
mod receive;
mod sources;
mod state;
mod supervise;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
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
use claims::Claims;
use lane::Tokens;
use plan::Plan;
use receive::Intake;
use supervise::Supervisor;

pub(crate) use attachment::Attachment;
pub(crate) use lane::{Lane, SETTLING};
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
        let Plan { base, partitions } = Plan::new(&group, ordered, &subscription);
        let shared =
            Arc::new(Shared::new(Tokens { consumer: number, ordered }, subscription.prefetch));
        let events = EventSender::default();
        let mut claims = ordered
            .then(|| Claims::new(&shared, &events, partitions, group.inbox, subscription.max_hold));
        let session = loop {
            let named =
                |e: Error| e.with_operation("subscribe").with_channel(&subscription.channel);
            let session = link::session(&mut link, deadline).await.map_err(named)?;
            let attaching = async {
                shared.install(plan::attach(&base, &session, deadline).await?, None);
                match &mut claims {
                    Some(claims) => claims.turn(&session, deadline).await,
                    None => Ok(()),
                }
            };
            match attaching.await {
                Ok(()) => break session,
                Err(refusal) if session.is_up() => return Err(named(refusal.error)),
                Err(refusal) => tracing::debug!(error = %refusal.error, "not attached yet"),
            }
            drop(shared.give_up(|_| true));
        };
        let supervisor = Supervisor {
            shared: Arc::clone(&shared),
            link: link.clone(),
            base,
            claims,
            events: events.clone(),
            broker_events,
            name: subscription.consumer.to_string(),
            told: None,
        };
        Ok(Self {
            shared,
            intake: tokio::sync::Mutex::new(Intake::new(kind)),
            link,
            events,
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
        settle::settle(&self.shared, settlements, deadline).await
    }

    /// RabbitMQ has no lease to extend: a delivery is ours as long as its AMQP channel is.
    async fn extend(&self, tokens: &[Token], _deadline: Instant) -> Vec<Result<()>> {
        let mut state = self.shared.lock();
        let mut is_ours = |token: &Token| {
            state.lane(*token).is_some_and(|lane| lane.watermark.is_in_hand(token.slot))
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
        status.attached = status.connected && state.is_attached();
        status.paused = state.paused;
        status.in_flight = state.in_hand();
        status.buffered = state.buffered;
        status
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.shared.shut();
        let lanes = self.shared.give_up(|_| true);
        self.supervisor.abort();
        try_join_all(lanes.iter().map(|lane| lane.close(deadline))).await?;
        Ok(())
    }
}

impl Drop for RabbitmqConsumer {
    fn drop(&mut self) {
        self.shared.shut();
        // Before the sources, which the intake holds, are dropped.
        drop(self.shared.give_up(|_| true));
    }
}
