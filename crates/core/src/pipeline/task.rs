use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::batch::BatchWorker;
use super::breaker::Breaker;
use super::claims::Claims;
use super::dispatch::Handlers;
use super::finish::Finishing;
use super::hand::Hand;
use super::shared::{Dedup, Hops, Pauses, Shared};
use super::tally::{Counters, Tally};
use super::worker::Worker;
use crate::broker::{Consumer, ConsumerStatus, Limits};
use crate::clock::Clock;
use crate::config::ConsumerConfig;
use crate::dedup::{DedupStore, Guarded};
use crate::observe::metrics::ConsumerMetrics;
use crate::publish::{Pump, Route};
use crate::service::{Hooks, Identity, Scope};

/// What a pipeline is made of.
pub(crate) struct Start {
    pub(crate) config: ConsumerConfig,
    pub(crate) ordered: bool,
    pub(crate) atomic: bool,
    pub(crate) limits: Limits,
    pub(crate) consumer: Arc<dyn Consumer>,
    pub(crate) pump: Arc<Pump>,
    pub(crate) dead_letter: Arc<Route>,
    pub(crate) outputs: Vec<Arc<Route>>,
    pub(crate) handlers: Handlers,
    pub(crate) identity: Option<Identity>,
    pub(crate) store: Option<Arc<dyn DedupStore>>,
    pub(crate) hooks: Hooks,
    pub(crate) clock: Arc<dyn Clock>,
}

/// How a consumer is doing, as of now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerState {
    /// What the adapter says.
    pub broker: ConsumerStatus,
    /// Intake was paused by the application.
    pub paused: bool,
    /// Intake is paused by the breaker.
    pub breaker_open: bool,
    /// Messages that wait for a worker, for their time, or for their key.
    pub waiting: usize,
    /// Messages with their handler.
    pub running: usize,
    /// Messages whose sends or settlement are on their way.
    pub settling: usize,
    /// Messages that have been in hand for longer than `max_lease`.
    pub stuck: usize,
    /// What it has done so far.
    pub tally: Tally,
}

/// One consumer at work. Dropping it stops everything where it is, as a crash would: what is
/// unsettled comes again from the broker.
pub(crate) struct Pipeline {
    pub(super) shared: Arc<Shared>,
    pub(super) workers: JoinSet<()>,
    pub(super) intake: AbortOnDropHandle<()>,
    pub(super) helpers: JoinSet<()>,
}

impl Pipeline {
    pub(crate) fn start(start: Start) -> Self {
        let Start { config, limits, clock, .. } = start;
        let info = start.pump.broker().info().clone();
        let metrics = ConsumerMetrics::new(
            info.system,
            config.channel.as_str(),
            config.group.as_str(),
            config.name.as_str(),
        );
        let scope = Arc::new(Scope {
            consumer: config.name.clone(),
            channel: config.channel.clone(),
            group: config.group.clone(),
            outputs: start.outputs,
            clock: Arc::clone(&clock),
        });
        let dedup = start.store.map(|store| {
            let store: Arc<dyn DedupStore> = Arc::new(Guarded(store));
            Dedup {
                claims: Arc::new(Claims::new(Arc::clone(&store))),
                store,
                identity: start.identity,
            }
        });
        let shared = Arc::new(Shared {
            ordered: start.ordered,
            atomic: start.atomic,
            info,
            consumer: start.consumer,
            handlers: start.handlers,
            hops: Hops {
                pump: start.pump,
                limits,
                dead_letter_pump: Arc::clone(&start.dead_letter.pump),
                dead_letter_limits: start.dead_letter.limits.clone(),
                dead_letter: start.dead_letter.channel.clone(),
            },
            dedup,
            breaker: config.breaker.map(|b| Mutex::new(Breaker::new(b))),
            hand: Hand::new(start.ordered, scope),
            finishing: Finishing::default(),
            pauses: Mutex::new(Pauses::default()),
            counters: Counters::default(),
            metrics,
            hooks: start.hooks,
            clock,
            config,
        });
        Self::spawn(shared)
    }

    fn spawn(shared: Arc<Shared>) -> Self {
        let mut workers = JoinSet::new();
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        for _ in 0..shared.config.concurrency {
            let shared = Arc::clone(&shared);
            match shared.handlers {
                Handlers::Single(_) => workers.spawn(Worker::new(shared).run()),
                Handlers::Batch(_) => {
                    workers.spawn(BatchWorker::new(shared, Arc::clone(&turn)).run())
                }
            };
        }
        let mut helpers = JoinSet::new();
        helpers.spawn(Arc::clone(&shared).run_effects());
        helpers.spawn(Arc::clone(&shared).run_settlements());
        helpers.spawn(Arc::clone(&shared).run_timers());
        helpers.spawn(Arc::clone(&shared).run_leases());
        if let Some(dedup) = &shared.dedup {
            helpers.spawn(Arc::clone(&dedup.claims).run());
        }
        let intake = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&shared).run_intake()));
        Self { shared, workers, intake, helpers }
    }

    /// Stops intake; what is in hand is finished.
    pub(crate) fn pause(&self) {
        self.shared.pause(|p| p.by_user = true);
    }

    /// Takes messages in again.
    pub(crate) fn resume(&self) {
        self.shared.pause(|p| p.by_user = false);
    }

    pub(crate) fn state(&self) -> ConsumerState {
        let (counts, pauses) = (self.shared.hand.counts(), self.shared.is_paused());
        ConsumerState {
            broker: self.shared.consumer.status(),
            paused: pauses.by_user,
            breaker_open: self.shared.breaker().is_some_and(|b| b.is_holding()),
            waiting: counts.waiting,
            running: counts.running,
            settling: counts.settling,
            stuck: self.shared.hand.stuck(),
            tally: self.shared.counters.tally(),
        }
    }
}
