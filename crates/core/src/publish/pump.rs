use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::gate::{Gate, GateKey};
use crate::broker::{Broker, Outcome, Send};
use crate::clock::Clock;
use crate::config::WhenFull;
use crate::model::ChannelName;
use crate::observe::metrics::PublishMetrics;
use crate::slots::Slots;
use crate::{Error, ErrorKind, Result};

/// The longest that a message waits for company while others are in flight.
const LINGER: Duration = Duration::from_millis(5);
/// The most messages in one call to the broker.
const MAX_BATCH: usize = 512;
/// How long to wait before trying a full channel again, at first and at most.
const FULL_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

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

enum Next {
    Batch(Vec<Queued>),
    Wait(Option<Instant>),
    End,
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

    /// Publishes one message; coalesced with those of other tasks.
    pub(crate) async fn publish(
        &self,
        send: Send,
        deadline: Instant,
        when_full: WhenFull,
    ) -> Outcome {
        if when_full == WhenFull::Fail {
            return self.publish_once(send, deadline, when_full).await;
        }
        let mut backoff = FULL_BACKOFF.0;
        loop {
            let outcome = self.publish_once(send.clone(), deadline, when_full).await;
            if !self.full_for_now(&outcome, deadline, &mut backoff).await {
                return outcome;
            }
        }
    }

    /// Waits before a full channel is tried again; `false` when there is nothing to wait for.
    async fn full_for_now(
        &self,
        outcome: &Outcome,
        deadline: Instant,
        backoff: &mut Duration,
    ) -> bool {
        let full = matches!(outcome, Outcome::Rejected(e) if e.kind() == ErrorKind::Full);
        let again = self.clock.instant() + *backoff;
        if !full || again >= deadline {
            return false;
        }
        self.clock.sleep_until(again).await;
        *backoff = (*backoff * 2).min(FULL_BACKOFF.1);
        true
    }

    async fn publish_once(&self, send: Send, deadline: Instant, when_full: WhenFull) -> Outcome {
        if let Err(error) = self.enter(1, deadline, when_full).await {
            return Outcome::Rejected(error);
        }
        let (slot, queued) = {
            let mut state = self.state();
            if state.closed {
                drop(state);
                self.window.add_permits(1);
                return Outcome::Rejected(closed());
            }
            let key = state.gate.key_of(&send);
            if key.is_none() && state.calls == 0 && state.pending.is_empty() {
                // Alone: no company to wait for, and no task switch to pay for.
                state.calls += 1;
                (None, Some(send))
            } else {
                let slot = state.slots.open();
                state.queue(Queued { slot, send, key, deadline }, self.clock.instant());
                (Some(slot), None)
            }
        };
        match (slot, queued) {
            (None, Some(send)) => {
                let outcomes = self.call_direct(vec![send], deadline).await;
                outcomes.into_iter().next().unwrap_or_else(|| Outcome::Unconfirmed(missing()))
            }
            (Some(slot), _) => {
                self.wake.notify_one();
                self.wait(slot, deadline).await
            }
            (None, None) => Outcome::Rejected(closed()),
        }
    }

    /// Publishes a batch, in order: an outcome each.
    pub(crate) async fn publish_all(
        &self,
        sends: Vec<Send>,
        deadline: Instant,
        when_full: WhenFull,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(sends.len());
        let mut sends = sends.into_iter().peekable();
        while sends.peek().is_some() {
            let chunk: Vec<Send> = sends.by_ref().take(self.capacity.min(MAX_BATCH)).collect();
            outcomes.append(&mut self.publish_chunk(chunk, deadline, when_full).await);
        }
        outcomes
    }

    async fn publish_chunk(
        &self,
        sends: Vec<Send>,
        deadline: Instant,
        when_full: WhenFull,
    ) -> Vec<Outcome> {
        let again = if when_full == WhenFull::Block { sends.clone() } else { Vec::new() };
        let mut outcomes = self.publish_chunk_once(sends, deadline, when_full).await;
        let mut backoff = FULL_BACKOFF.0;
        let is_full =
            |o: &Outcome| matches!(o, Outcome::Rejected(e) if e.kind() == ErrorKind::Full);
        while let Some(first) = outcomes.iter().position(is_full).filter(|_| !again.is_empty()) {
            if !self.full_for_now(&outcomes[first], deadline, &mut backoff).await {
                break;
            }
            // In their order, those that found no room.
            let indices: Vec<usize> =
                (first..outcomes.len()).filter(|i| is_full(&outcomes[*i])).collect();
            let sends = indices.iter().map(|i| again[*i].clone()).collect();
            let retried = self.publish_chunk_once(sends, deadline, when_full).await;
            for (index, outcome) in indices.into_iter().zip(retried) {
                outcomes[index] = outcome;
            }
        }
        outcomes
    }

    async fn publish_chunk_once(
        &self,
        sends: Vec<Send>,
        deadline: Instant,
        when_full: WhenFull,
    ) -> Vec<Outcome> {
        let count = sends.len();
        if let Err(error) = self.enter(count, deadline, when_full).await {
            return rejected(count, &error);
        }
        let slots = match self.queue_gated(sends, deadline) {
            Gated::Queued(slots) => slots,
            Gated::Free(sends) => return self.call_direct(sends, deadline).await,
            Gated::Closed => {
                self.window.add_permits(count);
                return rejected(count, &closed());
            }
        };
        self.wake.notify_one();
        let mut outcomes = Vec::with_capacity(count);
        for slot in slots {
            outcomes.push(self.wait(slot, deadline).await);
        }
        outcomes
    }

    /// Queues a batch that holds keys of gated channels; gives any other one back to be called
    /// directly, counted as a call.
    fn queue_gated(&self, sends: Vec<Send>, deadline: Instant) -> Gated {
        let mut state = self.state();
        if state.closed {
            return Gated::Closed;
        }
        if !sends.iter().any(|s| state.gate.key_of(s).is_some()) {
            state.calls += 1;
            return Gated::Free(sends);
        }
        let now = self.clock.instant();
        let queue = |send: Send| {
            let (slot, key) = (state.slots.open(), state.gate.key_of(&send));
            state.queue(Queued { slot, send, key, deadline }, now);
            slot
        };
        Gated::Queued(sends.into_iter().map(queue).collect())
    }

    /// Takes room in the window.
    async fn enter(&self, count: usize, deadline: Instant, when_full: WhenFull) -> Result<()> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if let Ok(permit) = self.window.try_acquire_many(count) {
            permit.forget();
            return Ok(());
        }
        let full = || {
            Error::new(
                ErrorKind::Full,
                format!("{} messages are unconfirmed, the whole window", self.capacity),
            )
            .with_operation("publish")
            .with_broker(&self.broker.info().name)
            .with_help("the broker confirms too slowly: raise publish.window, or publish less")
        };
        if when_full == WhenFull::Fail {
            return Err(full());
        }
        match timeout_at(deadline, self.window.acquire_many(count)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(full().with_context("waited", "until the deadline")),
        }
    }

    /// Calls the broker from the publishing task itself; `calls` was counted by the caller.
    async fn call_direct(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        let _ending = Ending { pump: self, count: sends.len() };
        self.call(sends, deadline).await
    }

    async fn call(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        let (count, start) = (sends.len(), self.clock.instant());
        let mut outcomes = self.broker.publish(sends, deadline).await;
        self.metrics.duration.record((self.clock.instant() - start).as_secs_f64());
        if outcomes.len() != count {
            outcomes.resize_with(count, || Outcome::Unconfirmed(missing()));
        }
        self.count(&outcomes);
        outcomes
    }

    fn count(&self, outcomes: &[Outcome]) {
        let confirmed = outcomes.iter().filter(|o| o.is_confirmed()).count() as u64;
        let rejected = outcomes.iter().filter(|o| matches!(o, Outcome::Rejected(_))).count() as u64;
        self.metrics.confirmed.increment(confirmed);
        if confirmed != outcomes.len() as u64 {
            self.metrics.rejected.increment(rejected);
            self.metrics.unconfirmed.increment(outcomes.len() as u64 - confirmed - rejected);
        }
    }

    async fn wait(&self, slot: usize, deadline: Instant) -> Outcome {
        let waiting = Waiting { pump: self, slot };
        let outcome = poll_fn(|cx| match self.state().slots.poll(slot, cx.waker()) {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        });
        if let Ok(outcome) = timeout_at(deadline, outcome).await {
            return outcome;
        }
        let sent = self.state().slots.was_sent(slot);
        drop(waiting);
        let error = |what: &'static str| {
            Error::new(ErrorKind::Timeout, what)
                .with_operation("publish")
                .with_broker(&self.broker.info().name)
        };
        if sent {
            Outcome::Unconfirmed(error("the deadline passed before the broker confirmed"))
        } else {
            Outcome::Rejected(error("the deadline passed before the message was sent"))
        }
    }

    async fn run(self: Arc<Self>) {
        let mut calls = FuturesUnordered::new();
        loop {
            match self.next_batch() {
                Next::Batch(batch) => calls.push(self.carry(batch)),
                Next::Wait(until) => {
                    let linger = async {
                        match until {
                            Some(until) => self.clock.sleep_until(until).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = self.wake.notified() => {}
                        Some(()) = calls.next(), if !calls.is_empty() => {}
                        () = linger => {}
                    }
                }
                Next::End => return,
            }
        }
    }

    fn next_batch(&self) -> Next {
        let mut state = self.state();
        if state.pending.is_empty() {
            return if state.closed && state.calls == 0 { Next::End } else { Next::Wait(None) };
        }
        let ripe = state.oldest.map(|oldest| oldest + LINGER);
        let now = self.clock.instant();
        if state.calls > 0 && state.pending.len() < MAX_BATCH && ripe.is_some_and(|ripe| now < ripe)
        {
            return Next::Wait(ripe);
        }
        let mut batch = Vec::with_capacity(state.pending.len().min(MAX_BATCH));
        while batch.len() < MAX_BATCH
            && let Some(queued) = state.pending.pop_front()
        {
            if state.slots.sending(queued.slot) {
                batch.push(queued);
            } else {
                self.window.add_permits(1);
                state.leave(queued.key.as_ref(), now);
            }
        }
        state.oldest = (!state.pending.is_empty()).then_some(now);
        if batch.is_empty() {
            return if state.pending.is_empty() { Next::Wait(None) } else { Next::Wait(Some(now)) };
        }
        state.calls += 1;
        Next::Batch(batch)
    }

    async fn carry(&self, batch: Vec<Queued>) {
        let _ending = Ending { pump: self, count: batch.len() };
        let deadline = batch.iter().map(|q| q.deadline).max().unwrap_or_else(Instant::now);
        let (waiting, sends): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|q| ((q.slot, q.key), q.send)).unzip();
        let outcomes = self.call(sends, deadline).await;
        let now = self.clock.instant();
        let wakers: Vec<_> = {
            let mut state = self.state();
            waiting
                .into_iter()
                .zip(outcomes)
                .filter_map(|((slot, key), outcome)| {
                    state.leave(key.as_ref(), now);
                    state.slots.complete(slot, outcome)
                })
                .collect()
        };
        wakers.into_iter().for_each(std::task::Waker::wake);
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

fn missing() -> Error {
    Error::new(ErrorKind::Other, "the adapter gave no outcome for this message")
        .with_operation("publish")
}

fn rejected(count: usize, error: &Error) -> Vec<Outcome> {
    let again = || {
        let copy = Error::new(error.kind(), error.message().to_owned()).with_operation("publish");
        match error.help() {
            Some(help) => copy.with_help(help.to_owned()),
            None => copy,
        }
    };
    (0..count).map(|_| Outcome::Rejected(again())).collect()
}

/// The end of a call, also when its future is dropped.
struct Ending<'a> {
    pump: &'a Pump,
    count: usize,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.pump.window.add_permits(self.count);
        let (waiting, idle) = {
            let mut state = self.pump.state();
            state.calls -= 1;
            (!state.pending.is_empty(), state.calls == 0)
        };
        if waiting {
            self.pump.wake.notify_one();
        }
        if idle {
            self.pump.idle.notify_waiters();
            self.pump.wake.notify_one();
        }
    }
}

/// A task's claim on its slot.
struct Waiting<'a> {
    pump: &'a Pump,
    slot: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pump.state().slots.abandon(self.slot);
    }
}
