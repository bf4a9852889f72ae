//! The broker's side: batches, calls, outcomes.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tracing::Instrument;

use super::{COMPANY, LINGER, MAX_BATCH, Pump, Queued};
use crate::broker::{Outcome, Send};
use crate::guard::answer;
use crate::{Error, ErrorKind};

enum Next {
    Batch(Vec<Queued>),
    Wait(Option<Instant>),
    End,
}

impl Pump {
    /// Calls the broker from the publishing task itself; `calls` was counted by the caller.
    pub(super) async fn call_direct(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        let _ending = Ending { pump: self, count: sends.len() };
        self.call(sends, deadline).await
    }

    async fn call(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        let (count, start) = (sends.len(), self.clock.instant());
        let span = tracing::debug_span!(
            target: "polymq::publish",
            "publish",
            messaging.operation.name = "publish",
            messaging.system = self.broker.info().system,
            messaging.batch.message_count = count,
        );
        let publishing = self.broker.publish(sends, deadline).instrument(span);
        let mut outcomes = answer("publish", deadline, publishing).await.unwrap_or_default();
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

    pub(super) async fn run(self: Arc<Self>) {
        let mut calls = FuturesUnordered::new();
        loop {
            self.wake_late();
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
                        // One task of many that were woken together: lets the others publish, too.
                        () = self.wake.notified() => tokio::task::yield_now().await,
                        Some(()) = calls.next(), if !calls.is_empty() => {}
                        () = linger => {}
                    }
                }
                Next::End => return,
            }
        }
    }

    /// Wakes whoever has waited until the deadline: one timer for all of them.
    fn wake_late(&self) {
        let now = self.clock.instant();
        let wakers = {
            let mut state = self.state();
            if state.first_late.is_none_or(|first| now < first) {
                return;
            }
            let (wakers, next) = state.slots.late(now);
            state.first_late = next;
            wakers
        };
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    fn next_batch(&self) -> Next {
        let mut state = self.state();
        if state.pending.is_empty() {
            return match state.closed && state.calls == 0 {
                true => Next::End,
                false => Next::Wait(state.first_late),
            };
        }
        let ripe = state.oldest.map(|oldest| oldest + LINGER);
        let now = self.clock.instant();
        if state.calls > 0 && state.pending.len() < COMPANY && ripe.is_some_and(|ripe| now < ripe) {
            return Next::Wait(ripe.into_iter().chain(state.first_late).min());
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
            drop(state);
            // All of them were given up: whoever closes need not wait for them, either.
            self.idle.notify_waiters();
            return Next::Wait(Some(now));
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
        let (mut wakers, mut turned_back) = (Vec::new(), 0);
        {
            let mut state = self.state();
            for ((slot, key), outcome) in waiting.into_iter().zip(outcomes) {
                match (&outcome, &key) {
                    (Outcome::Rejected(error), Some(key)) if error.kind() == ErrorKind::Full => {
                        for behind in state.gate.clear(key) {
                            turned_back += 1;
                            let outcome = Outcome::Rejected(again(error));
                            wakers.extend(state.slots.complete(behind.slot, outcome));
                        }
                    }
                    _ => state.leave(key.as_ref(), now),
                }
                wakers.extend(state.slots.complete(slot, outcome));
            }
        }
        self.window.add_permits(turned_back);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

pub(super) fn missing() -> Error {
    Error::new(ErrorKind::Other, "the adapter gave no outcome for this message")
        .with_operation("publish")
}

/// The same refusal for another message.
pub(super) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message().to_owned()).with_operation("publish");
    match error.help() {
        Some(help) => copy.with_help(help.to_owned()),
        None => copy,
    }
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
