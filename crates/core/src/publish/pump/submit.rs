//! The publishing task's side: room in the window, company, an outcome.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::carry::{again, missing};
use super::{COMPANY, Gated, MAX_BATCH, Pump, Queued, closed};
use crate::broker::{Outcome, Send};
use crate::config::WhenFull;
use crate::{Error, ErrorKind, Result};

/// How long to wait before trying a full channel again, at first and at most.
const FULL_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

impl Pump {
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
        let (slot, queued, wake) = {
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
                (None, Some(send), false)
            } else {
                let (slot, is_first_late) = state.open(deadline);
                state.queue(Queued { slot, send, key, deadline }, self.clock.instant());
                // In between, the pump knows all that it needs: a linger, and calls that will end.
                let wake = is_first_late || [1, COMPANY].contains(&state.pending.len());
                (Some(slot), None, wake)
            }
        };
        match (slot, queued) {
            (None, Some(send)) => {
                let outcomes = self.call_direct(vec![send], deadline).await;
                outcomes.into_iter().next().unwrap_or_else(|| Outcome::Unconfirmed(missing()))
            }
            (Some(slot), _) => {
                if wake {
                    self.wake.notify_one();
                }
                self.wait(Waiting { pump: self, slot }).await
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

    /// Publishes a batch like [`publish_all`](Pump::publish_all), waiting for room in the window
    /// but not for room in channels: the pipeline has other messages to see to.
    pub(crate) async fn publish_all_once(
        &self,
        sends: Vec<Send>,
        deadline: Instant,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(sends.len());
        let mut sends = sends.into_iter().peekable();
        while sends.peek().is_some() {
            let chunk: Vec<Send> = sends.by_ref().take(self.capacity.min(MAX_BATCH)).collect();
            outcomes.extend(self.publish_chunk_once(chunk, deadline, WhenFull::Block).await);
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
        // All of them first: a dropped batch gives every slot back.
        let waiting: Vec<_> = slots.into_iter().map(|slot| Waiting { pump: self, slot }).collect();
        let mut outcomes = Vec::with_capacity(count);
        for waiting in waiting {
            outcomes.push(self.wait(waiting).await);
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
            let (slot, key) = (state.open(deadline).0, state.gate.key_of(&send));
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

    /// Waits for an outcome, or for the pump to say that it is late.
    async fn wait(&self, waiting: Waiting<'_>) -> Outcome {
        let slot = waiting.slot;
        let outcome = poll_fn(|cx| {
            let mut state = self.state();
            match state.slots.poll(slot, cx.waker()) {
                Some(outcome) => Poll::Ready(Ok(outcome)),
                None if state.slots.is_late(slot, self.clock.instant()) => {
                    Poll::Ready(Err(state.slots.was_sent(slot)))
                }
                None => Poll::Pending,
            }
        });
        let sent = match outcome.await {
            Ok(outcome) => return outcome,
            Err(sent) => sent,
        };
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
}

fn rejected(count: usize, error: &Error) -> Vec<Outcome> {
    (0..count).map(|_| Outcome::Rejected(again(error))).collect()
}

/// A task's claim on its slot.
struct Waiting<'a> {
    pump: &'a Pump,
    slot: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pump.state().slots.close(self.slot);
    }
}
