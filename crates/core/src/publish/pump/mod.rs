mod carry;
mod submit;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::gate::{Gate, GateKey};
use crate::broker::{Broker, Outcome, Send};
use crate::clock::Clock;
use crate::model::ChannelName;
use crate::observe::metrics::PublishMetrics;
use crate::slots::Slots;
use crate::{Error, ErrorKind, Result};

/// The longest that a message waits for company while others are in flight.
const LINGER: Duration = Duration::from_millis(5);
/// The most messages in one call to the broker.
const MAX_BATCH: usize = 512;
/// So many make a call of their own while others are in flight: more of them would save little, and
/// waiting for them would leave the broker idle in between.
const COMPANY: usize = 16;

/// One broker's publishing side: coalesces, bounds what is unconfirmed, keeps order per key.
pub(crate) struct Pump {
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    metrics: Arc<PublishMetrics>,
    capacity: usize,
    window: Semaphore,
    wake: Notify,
    idle: Notify,
    state: Mutex<State>,
}

struct State {
    pending: VecDeque<Queued>,
    oldest: Option<Instant>,
    /// When the first slot is late, or before that.
    first_late: Option<Instant>,
    slots: Slots<Outcome>,
    gate: Gate<Queued>,
    calls: usize,
    closed: bool,
}

struct Queued {
    slot: usize,
    send: Send,
    key: Option<GateKey>,
    deadline: Instant,
}

enum Gated {
    Queued(Vec<usize>),
    Free(Vec<Send>),
    Closed,
}

/// Runs a pump; dropping it fails whatever is still waiting.
#[derive(Debug)]
pub(crate) struct PumpTask {
    pump: Arc<Pump>,
    _task: AbortOnDropHandle<()>,
}

impl Drop for PumpTask {
    fn drop(&mut self) {
        self.pump.shut();
    }
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pump").field("broker", &self.broker).finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the publisher is closed").with_operation("publish")
}

impl Pump {
    /// Starts the pump of a broker. `gated` are the ordered channels whose broker could swap two
    /// unconfirmed messages.
    pub(crate) fn start(
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        window: usize,
        gated: HashSet<ChannelName>,
    ) -> (Arc<Self>, PumpTask) {
        let info = broker.info();
        let pump = Arc::new(Self {
            metrics: PublishMetrics::new(info.system, &info.name),
            broker,
            clock,
            capacity: window,
            window: Semaphore::new(window),
            wake: Notify::new(),
            idle: Notify::new(),
            state: Mutex::new(State {
                pending: VecDeque::new(),
                oldest: None,
                first_late: None,
                slots: Slots::default(),
                gate: Gate::new(gated),
                calls: 0,
                closed: false,
            }),
        });
        let task = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&pump).run()));
        (Arc::clone(&pump), PumpTask { pump, _task: task })
    }

    pub(crate) fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts nothing more and waits until everything accepted has its outcome.
    pub(crate) async fn close(&self, deadline: Instant) -> Result<()> {
        self.state().closed = true;
        self.wake.notify_one();
        let flushed = async {
            loop {
                let idle = self.idle.notified();
                {
                    let state = self.state();
                    if state.calls == 0 && state.pending.is_empty() {
                        return;
                    }
                }
                idle.await;
            }
        };
        timeout_at(deadline, flushed).await.map_err(|_| {
            Error::new(ErrorKind::Timeout, "some publishes had no outcome by the deadline")
                .with_operation("close")
                .with_broker(&self.broker.info().name)
        })
    }

    /// The task is gone: nobody will carry what waits.
    fn shut(&self) {
        let wakers: Vec<_> = {
            let mut state = self.state();
            state.closed = true;
            let mut waiting: Vec<Queued> = state.pending.drain(..).collect();
            while let Some(queued) = waiting.pop() {
                if let Some(next) = queued.key.as_ref().and_then(|k| state.gate.leave(k)) {
                    waiting.push(next);
                }
            }
            state.slots.complete_all(|sent| {
                if sent { Outcome::Unconfirmed(closed()) } else { Outcome::Rejected(closed()) }
            })
        };
        self.window.close();
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl State {
    /// A slot for a publish, and whether the pump must know that it is late earlier than any other.
    fn open(&mut self, deadline: Instant) -> (usize, bool) {
        let is_first = self.first_late.is_none_or(|first| deadline < first);
        if is_first {
            self.first_late = Some(deadline);
        }
        (self.slots.open_until(deadline), is_first)
    }

    fn queue(&mut self, queued: Queued, now: Instant) {
        let admitted = match queued.key.clone() {
            Some(key) => self.gate.enter(&key, queued),
            None => Some(queued),
        };
        if let Some(queued) = admitted {
            self.oldest.get_or_insert(now);
            self.pending.push_back(queued);
        }
    }

    /// Lets the next message of a key through.
    fn leave(&mut self, key: Option<&GateKey>, now: Instant) {
        if let Some(next) = key.and_then(|key| self.gate.leave(key)) {
            self.oldest.get_or_insert(now);
            self.pending.push_back(next);
        }
    }
}
