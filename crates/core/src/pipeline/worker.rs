use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;
use tracing::Instrument;

use super::dead_letter::{DeadLetterReason, MAX_ERROR_BYTES};
use super::dispatch::{Handlers, Table};
use super::hand::Job;
use super::outcome::Next;
use super::shared::Shared;
use super::stages::{Skip, Stage, Ticket, claim_poll};
use crate::broker::Settlement;
use crate::config::{AckMode, UnknownType};
use crate::guard::answer;
use crate::service::{
    Attempt, AttemptFuture, CLASS_PANIC, CLASS_TIMEOUT, Endpoint, HandlerError, Output,
    empty_future,
};

/// Runs handlers, one message at a time. What it needs per message, it reuses.
pub(super) struct Worker {
    shared: Arc<Shared>,
    place: AttemptFuture,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, place: empty_future() }
    }

    /// Until the hand closes.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let Handlers::Single(table) = &shared.handlers else { return };
        while let Some(job) = shared.hand.next().await {
            // What a task wakes lies in a slot of its thread that no other thread takes from: it
            // must have run before a handler that may never yield.
            if shared.hand.wake_another() {
                tokio::task::yield_now().await;
            }
            self.work(job, table).await;
            shared.wake_finishing().await;
        }
    }

    async fn work(&mut self, job: Job, table: &Table<dyn Endpoint>) {
        let shared = &self.shared;
        if let Some(stage) = shared.screen(&job.attempt.delivery) {
            return shared.stopped(job, stage);
        }
        if let Err(unreadable) = self.decode(table, &job.attempt) {
            return self.shared.unreadable(job, unreadable);
        }
        match self.shared.admit(&job).await {
            Stage::Handle(ticket) => self.handle(job, ticket).await,
            other => {
                self.end_future();
                self.shared.stopped(job, other);
            }
        }
    }

    fn decode(
        &mut self,
        table: &Table<dyn Endpoint>,
        attempt: &Arc<Attempt>,
    ) -> Result<(), Unreadable> {
        let _span = tracing::debug_span!(target: "polymq::process", "decode").entered();
        let Some(endpoint) = table.find(attempt.delivery.message.message_type()) else {
            return Err(Unreadable::UnknownType);
        };
        guard_decode(|| endpoint.prepare(attempt, &mut self.place)).map_err(Unreadable::Malformed)
    }

    async fn handle(&mut self, mut job: Job, ticket: Ticket) {
        job.held = ticket.held;
        if self.shared.config.ack == AckMode::Before && !self.shared.ack_before(job.key).await {
            self.end_future();
            return self.shared.unhandled(job, ticket.probe);
        }
        job.attempt.open();
        let result = self.call(&job.attempt).await;
        let outputs = job.attempt.close();
        self.shared.ended(job, ticket.probe, result, outputs);
    }

    /// Runs the handler, within its time, and catches what it throws.
    async fn call(&mut self, attempt: &Attempt) -> Result<(), HandlerError> {
        let start = self.shared.clock.instant();
        let deadline = start + self.shared.config.timeout;
        let span = process_span(attempt);
        let handler = AssertUnwindSafe(&mut self.place).catch_unwind().instrument(span);
        let result = match attempt.trace {
            Some(trace) => trace.scope(timeout_at(deadline, handler)).await,
            None => timeout_at(deadline, handler).await,
        };
        let took = self.shared.clock.instant() - start;
        if !matches!(result, Ok(Ok(_))) {
            self.end_future();
        }
        let result = into_result(result, self.shared.config.timeout);
        self.shared.took(&result, took);
        result
    }

    /// Ends a future that did not end by itself; what it drops may panic in its turn.
    fn end_future(&mut self) {
        let left = std::mem::replace(&mut self.place, empty_future());
        let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
    }
}

pub(super) fn process_span(attempt: &Attempt) -> tracing::Span {
    tracing::debug_span!(
        target: "polymq::process",
        "process",
        messaging.operation.name = "process",
        messaging.destination.name = %attempt.scope.channel,
        messaging.consumer.group.name = %attempt.scope.group,
        messaging.message.id = %attempt.id,
        polymq.consumer = %attempt.scope.consumer,
        polymq.attempt = attempt.number,
        trace_id = attempt.trace.map(|t| tracing::field::display(t.trace_id())),
    )
}

/// What a caught and timed call amounts to.
pub(super) fn into_result<T>(
    result: Result<std::thread::Result<Result<T, HandlerError>>, Elapsed>,
    timeout: Duration,
) -> Result<T, HandlerError> {
    match result {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => {
            let text = panic_text(&*panic);
            Err(HandlerError::new(format!("the handler panicked: {text}")).class(CLASS_PANIC))
        }
        Err(_) => {
            let text = format!(
                "the attempt took longer than its timeout, {}",
                humantime::format_duration(timeout)
            );
            Err(HandlerError::new(text).class(CLASS_TIMEOUT))
        }
    }
}

/// Decoding runs the application's code: a panic there is a message that cannot be read.
pub(super) fn guard_decode(decode: impl FnOnce() -> crate::Result<()>) -> crate::Result<()> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let text = format!("decoding panicked: {}", panic_text(&*panic));
        Err(crate::Error::new(crate::ErrorKind::Malformed, text).with_operation("decode"))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned())
}

/// Why a message never got as far as its handler.
#[derive(Debug)]
pub(super) enum Unreadable {
    UnknownType,
    Malformed(crate::Error),
}

impl Shared {
    /// After a worker's message: wakes what follows, and lets others have the thread.
    pub(super) async fn wake_finishing(&self) {
        if self.finishing.wake() {
            tokio::task::yield_now().await;
        } else {
            // A handler that never waits must not keep its thread from others.
            tokio::task::coop::consume_budget().await;
        }
    }

    pub(super) fn unreadable(&self, job: Job, why: Unreadable) {
        let reason = match why {
            Unreadable::Malformed(error) => {
                let chain = HandlerError::new(error).chain(MAX_ERROR_BYTES);
                let reason = DeadLetterReason::Undecodable;
                return self.finish(self.dead_lettered(job, reason, chain));
            }
            Unreadable::UnknownType => {
                let name = job.attempt.delivery.message.message_type().unwrap_or("(none)");
                format!("no handler of this consumer takes the type `{name}`")
            }
        };
        match self.config.unknown_type {
            UnknownType::Ignore => self.finish(self.skipped(job, Skip::Ignored)),
            UnknownType::DeadLetter => {
                self.finish(self.dead_lettered(job, DeadLetterReason::UnknownType, reason));
            }
            UnknownType::Fail => {
                let error = HandlerError::new(reason).class("unknown-type");
                self.follow(self.failed(job, &error));
            }
        }
    }

    /// A stage before the handler said what happens.
    pub(super) fn stopped(&self, mut job: Job, stage: Stage) {
        match stage {
            Stage::Handle(_) => {}
            Stage::Skip(skip) => self.finish(self.skipped(job, skip)),
            Stage::DeadLetter(reason, error) => {
                self.finish(self.dead_lettered(job, reason, error));
            }
            Stage::Reschedule(due) => self.finish(self.rescheduled(job, due)),
            Stage::Park(until) => self.or_release(self.hand.park(job, until)),
            Stage::Claimed(rest) => {
                let until = self.clock.instant() + claim_poll(job.waits, rest);
                job.waits += 1;
                self.or_release(self.hand.park(job, until));
            }
            Stage::Bar => {
                self.or_release(self.hand.bar(job));
                // The breaker may have closed since it said so.
                if self.breaker().is_none_or(|b| !b.is_holding()) {
                    self.hand.unbar(usize::MAX);
                }
            }
        }
    }

    /// An admitted message never reached its handler: it goes back, and another one is to probe.
    pub(super) fn unhandled(&self, job: Job, probe: bool) {
        if probe {
            self.record(true, None);
        }
        self.finish(self.released(job));
    }

    /// An attempt has ended.
    pub(super) fn ended(
        &self,
        job: Job,
        probe: bool,
        result: Result<(), HandlerError>,
        outputs: Vec<Output>,
    ) {
        if matches!(&result, Err(e) if e.is_release()) && self.config.ack == AckMode::After {
            return self.unhandled(job, probe);
        }
        if self.breaker.is_some() {
            self.record(
                probe,
                match &result {
                    Ok(()) => Some(false),
                    // A permanent error is about the message, not about what the handler depends on.
                    Err(error) => (!error.is_permanent()).then_some(true),
                },
            );
        }
        match result {
            Ok(()) => self.finish(self.handled(job, outputs)),
            Err(error) => self.follow(self.failed(job, &error)),
        }
    }

    fn follow(&self, next: Next) {
        match next {
            Next::Finish(finished) => self.finish(finished),
            Next::Again(job, at, retried) => {
                self.tell_retried(retried);
                self.or_release(match at {
                    None => self.hand.again(job),
                    Some(at) => self.hand.park(job, at),
                });
            }
        }
    }

    /// What cannot wait in the hand goes back to the broker.
    fn or_release(&self, back: Option<Job>) {
        if let Some(job) = back {
            self.finish(self.released(job));
        }
    }

    /// Acks before handling. `false`: the broker did not take the ack, so it will redeliver.
    pub(super) async fn ack_before(&self, key: usize) -> bool {
        let Some(token) = self.hand.live_token(key) else { return false };
        let deadline = self.clock.instant() + super::SETTLE_TIMEOUT;
        let ack = [(token, Settlement::Ack)];
        let acking = self.consumer.settle(&ack, deadline);
        match answer("settle", deadline, acking).await.unwrap_or_default().pop() {
            Some(Ok(())) => {
                self.hand.set_acked(key);
                true
            }
            Some(Err(error)) => {
                tracing::warn!(consumer = %self.config.name, %error, "not acked, so not handled");
                false
            }
            None => false,
        }
    }

    pub(super) fn took<T>(&self, result: &Result<T, HandlerError>, took: Duration) {
        match result {
            Ok(_) => self.metrics.process.record(took.as_secs_f64()),
            Err(error) => self.metrics.attempt_failed(error.error_class(), took),
        }
    }
}
