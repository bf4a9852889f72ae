//! Receiving: a client for each consumer, polled on a thread of its own.
//!
//! librdkafka wants to be polled, and serves its rebalances from within: so a [thread](run) fetches into a
//! [table](crate::settle::Table) and commits from it, while `recv` and `settle` only look at that table.
//! No call of a consumer waits for the client, but for `close`.
//!
//! | what is kept | at most |
//! |---|---|
//! | fetched by librdkafka | 16 MiB, and one response |
//! | at hand for `recv` | as many messages as `prefetch`, 64 at least; 16 MiB |
//! | at hand of a partition of the retry inbox that waits | about 64 messages, 1 MiB |
//!
//! What is full is not polled, and after a quarter of a second paused: polling goes on, which keeps the
//! consumer in its group.

mod attachment;
mod commits;
mod context;
mod errors;
mod fetch;
mod inbox;
mod native;
mod rebalance;
mod run;
mod session;
mod settings;
mod shared;
mod sources;
mod starts;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::broker::{
    Capability, Consumer, ConsumerStatus, EventSender, Events, Settlement, Subscription, Token,
    Unit,
};
use polymq_core::{Clock, Delivery, Error, Result};
use tokio::time::{Instant, timeout_at};

use crate::context::Watch;
use crate::error;
use crate::layout::GroupLayout;
use crate::settle::{Limits, Table};
use crate::target::Target;
use shared::{Closing, Phase, Shared};

/// What it takes to attach a consumer.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) target: Arc<Target>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) group: GroupLayout,
    /// Tells the consumers of a broker apart: in their tokens.
    pub(crate) number: u32,
    /// The broker's events, which repeat what people have to act on.
    pub(crate) broker_events: EventSender,
    pub(crate) subscription: Subscription,
}

/// A subscription to one group. Dropped without [`close`](Consumer::close), it leaves the group at once and
/// commits nothing.
#[derive(Debug)]
pub(crate) struct KafkaConsumer {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    clock: Arc<dyn Clock>,
    /// Held by the one `recv` call that waits.
    receiving: tokio::sync::Mutex<()>,
}

impl KafkaConsumer {
    /// Joins the group, by `deadline`.
    ///
    /// # Errors
    /// `NotFound` for a topic that isn't there, or a group that Kafka has forgotten; `PermissionDenied` for
    /// what the user may not read. At the deadline, why there is no connection, or `Timeout`.
    pub(crate) async fn attach(wanted: Attach, deadline: Instant) -> Result<Self> {
        let Subscription { channel, prefetch, .. } = wanted.subscription.clone();
        let named = |e: Error| e.with_operation("subscribe").with_channel(&channel);
        let prefetch = prefetch.max(1);
        let limits = Limits { prefetch, uncommitted: wanted.target.table().max_uncommitted };
        let shared = Arc::new(Shared::new(Table::new(wanted.number, limits), prefetch));
        let watch = Arc::new(Watch::new(wanted.target.broker(), shared.events.clone()));
        let consumer = Self {
            shared: Arc::clone(&shared),
            watch: Arc::clone(&watch),
            clock: Arc::clone(&wanted.clock),
            receiving: tokio::sync::Mutex::default(),
        };
        run::spawn(wanted, shared, watch).map_err(named)?;
        consumer.joined(deadline).await.map_err(named)?;
        Ok(consumer)
    }

    async fn joined(&self, deadline: Instant) -> Result<()> {
        let mut phase = self.shared.phase.subscribe();
        let joining = phase.wait_for(|phase| *phase != Phase::Attaching);
        let has_joined = match timeout_at(deadline, joining).await {
            Ok(phase) => matches!(phase.as_deref(), Ok(Phase::Attached)),
            Err(_) => return Err(self.late()),
        };
        match self.shared.take_failure() {
            Some(failure) if !has_joined => Err(failure),
            _ if !has_joined => Err(error::closed("consumer")),
            // The next `recv` tells it.
            Some(failure) => {
                self.shared.fail(failure);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn late(&self) -> Error {
        match self.watch.reason() {
            Some(reason) => error::away(Some(reason)),
            None => error::late("the group gave this consumer no partitions in time"),
        }
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn recv(&self, max: usize) -> Result<Vec<Delivery>> {
        let _turn = self.receiving.lock().await;
        self.shared.receive(&*self.clock, max).await
    }

    async fn settle(
        &self,
        settlements: &[(Token, Settlement)],
        _deadline: Instant,
    ) -> Vec<Result<()>> {
        self.shared.settle(settlements)
    }

    /// Kafka has no lease to extend: a delivery is ours as long as its partition is.
    async fn extend(&self, tokens: &[Token], _deadline: Instant) -> Vec<Result<()>> {
        let mut state = self.shared.lock();
        let mut is_ours = |token: &Token| state.table.is_in_hand(*token);
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
        self.shared.events.subscribe()
    }

    fn status(&self) -> ConsumerStatus {
        let mut status = ConsumerStatus::default();
        let phase = *self.shared.phase.borrow();
        status.connected = !self.watch.is_down() && !matches!(phase, Phase::Ended { .. });
        status.attached = status.connected && phase == Phase::Attached;
        let state = self.shared.lock();
        status.paused = state.paused;
        status.in_flight = state.table.in_hand();
        status.buffered = state.table.buffered();
        status
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.shared.close(Closing::Orderly(deadline));
        let mut phase = self.shared.phase.subscribe();
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended { .. }));
        match timeout_at(deadline, ended).await.as_ref().map(|ended| ended.as_deref()) {
            Ok(Ok(Phase::Ended { flushed: true })) => Ok(()),
            _ => {
                Err(error::late("what was handled was not committed in time")
                    .with_operation("close"))
            }
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.shared.close(Closing::Dropped);
    }
}
