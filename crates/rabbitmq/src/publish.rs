//! Sending: confirms are pipelined, writes overlap, and nothing that is owed is forgotten.
//!
//! Two ways lead to the broker. The *pump* owns one AMQP channel with a window of unconfirmed messages;
//! channels' exchanges never return a message, so a confirm there is the queue's word. The *lanes* carry
//! what must not be confirmed by an exchange alone: retry copies, dead letters, and sends to somebody
//! else's exchange. They publish *mandatory*, one message in flight per AMQP channel, because lapin
//! gives a returned message to whichever confirm completes next. What goes to an exchange that was
//! refused takes a lane too, since a refusal costs the AMQP channel.
//!
//! A message that was written and not confirmed when the connection broke is written again, under the
//! same id, until its deadline.

mod batch;
mod lane;
mod open;
mod pump;
mod route;
#[cfg(test)]
mod scene;
mod suspects;
mod verdict;
mod window;

use std::sync::{Arc, Mutex, PoisonError};

use polymq_core::Clock;
use polymq_core::broker::{Destination, Outcome, Send};
use polymq_core::{Error, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::batch::{Batch, Item, Job};
use self::route::{Route, Router};
use self::suspects::Suspects;
use crate::convert;
use crate::error;
use crate::layout::Layout;
use crate::link::{Link, State};

/// Calls that may wait for the pump, and single messages that may wait for a lane.
const QUEUED: usize = 256;

/// AMQP channels with one message in flight each.
const LANES: usize = 8;

/// The sending half of a broker.
#[derive(Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    queues: Mutex<Option<Queues>>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

/// Where calls leave their messages.
#[derive(Debug, Clone)]
struct Queues {
    pump: mpsc::Sender<Job>,
    lanes: mpsc::Sender<Job>,
}

/// What pump and lanes know.
#[derive(Debug)]
struct Shared {
    broker: String,
    /// `source` of CloudEvents.
    source: String,
    router: Router,
    suspects: Suspects,
    window: usize,
    max_message_bytes: usize,
    frame_max: usize,
}

impl Publisher {
    pub(crate) fn new(
        link: &Link,
        layout: Arc<Layout>,
        clock: Arc<dyn Clock>,
        steps: Vec<u64>,
        limits: Limits,
    ) -> Self {
        let shared = Arc::new(Shared {
            broker: limits.broker,
            source: format!("polymq:{}", layout.namespace()),
            router: Router::new(layout, clock, steps),
            suspects: Suspects::default(),
            window: limits.window,
            max_message_bytes: limits.max_message_bytes,
            frame_max: limits.frame_max,
        });
        let mut tasks = JoinSet::new();
        let (pump, jobs) = mpsc::channel(QUEUED);
        tasks.spawn(pump::run(Arc::clone(&shared), link.watch(), jobs));
        let (lanes, singles) = mpsc::channel(QUEUED);
        let singles = Arc::new(tokio::sync::Mutex::new(singles));
        for _ in 0..LANES {
            tasks.spawn(lane::run(Arc::clone(&shared), link.watch(), Arc::clone(&singles)));
        }
        Self {
            shared,
            state: link.watch(),
            queues: Mutex::new(Some(Queues { pump, lanes })),
            tasks: tokio::sync::Mutex::new(tasks),
        }
    }

    /// As [`Broker::publish`](polymq_core::broker::Broker::publish).
    pub(crate) async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        let batch = Arc::new(Batch::new(sends.len(), deadline));
        let queues = self.queues().clone();
        let Some(queues) = queues else {
            return batch.end(|| self.describe(error::closed("broker")));
        };
        let (jobs, singles) = self.sort(sends, &batch);
        let sent = timeout_at(deadline, async {
            if let Some(job) = jobs {
                queues.pump.send(job).await?;
            }
            for job in singles {
                queues.lanes.send(job).await?;
            }
            drop(queues);
            batch.finished().await;
            Ok::<_, mpsc::error::SendError<Job>>(())
        });
        // At the deadline, or when the broker was closed meanwhile, the batch says what is known.
        let _ = sent.await;
        batch.end(|| self.describe(self.why_late()))
    }

    /// Refuses what the broker cannot take, and parts the rest: for the pump, and for the lanes.
    fn sort(&self, sends: Vec<Send>, batch: &Arc<Batch>) -> (Option<Job>, Vec<Job>) {
        let (mut items, mut singles) = (Vec::with_capacity(sends.len()), Vec::new());
        for (index, send) in sends.into_iter().enumerate() {
            let (route, is_mandatory) = match self.shared.route(&send) {
                Ok(found) => found,
                Err(error) => {
                    let error = self.shared.describe(error, &send.destination);
                    batch.resolve(std::iter::once((index, Outcome::Rejected(error))));
                    continue;
                }
            };
            let alone = is_mandatory || self.shared.suspects.contains(&route.exchange);
            let item = Item::new(index, send, route);
            if alone {
                singles.push(Job { items: vec![item], batch: Arc::clone(batch) });
            } else {
                items.push(item);
            }
        }
        let job = (!items.is_empty()).then(|| Job { items, batch: Arc::clone(batch) });
        (job, singles)
    }

    /// Takes no more, and waits until everything that was taken has its outcome.
    ///
    /// # Errors
    /// `Timeout` when something was left at the deadline.
    pub(crate) async fn close(&self, deadline: Instant) -> Result<()> {
        self.queues().take();
        let mut tasks = self.tasks.lock().await;
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout_at(deadline, all).await.is_ok() {
            return Ok(());
        }
        tasks.abort_all();
        Err(self.describe(error::late("the broker was closed before everything was confirmed")))
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, Option<Queues>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a send has no outcome at its deadline.
    fn why_late(&self) -> Error {
        match &*self.state.borrow() {
            State::Up(session) if session.is_blocked() => error::blocked(),
            State::Up(_) => error::late("the broker did not confirm in time"),
            State::Down(reason) => error::away(Some(reason)),
            State::Closed => error::closed("broker"),
        }
    }

    fn describe(&self, error: Error) -> Error {
        error.with_operation("publish").with_broker(&self.shared.broker)
    }
}

/// What bounds a publisher.
#[derive(Debug)]
pub(crate) struct Limits {
    /// The broker's name, for errors.
    pub(crate) broker: String,
    /// Unconfirmed messages at most.
    pub(crate) window: usize,
    pub(crate) max_message_bytes: usize,
    pub(crate) frame_max: usize,
}

impl Shared {
    /// The way of a message, and whether it is mandatory, if the broker can take it at all.
    fn route(&self, send: &Send) -> Result<(Route, bool)> {
        let bytes = send.message.payload().map_or(0, bytes::Bytes::len);
        if bytes > self.max_message_bytes {
            return Err(error::too_large(bytes, self.max_message_bytes));
        }
        convert::check(&send.message, self.frame_max)?;
        self.router.find(send)
    }

    fn describe(&self, error: Error, destination: &Destination) -> Error {
        let error = error.with_operation("publish").with_broker(&self.broker);
        match destination.channel() {
            Some(channel) => error.with_channel(channel),
            None => error,
        }
    }
}
