use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tracing::Instrument;

use super::dispatch::{Handlers, Table};
use super::hand::Job;
use super::shared::Shared;
use super::stages::Stage;
use super::worker::{Unreadable, guard_decode, into_result};
use crate::config::AckMode;
use crate::service::{BatchEndpoint, Gathering, HandlerError};

/// Runs batch handlers. Workers take turns at gathering, so that batches are as full as they can be.
pub(super) struct BatchWorker {
    shared: Arc<Shared>,
    turn: Arc<Mutex<()>>,
}

/// A batch on its way to the handler.
struct Gathered {
    gathering: Box<dyn Gathering>,
    /// Each with whether it is the breaker's probe.
    items: Vec<(Job, bool)>,
}

impl BatchWorker {
    pub(super) fn new(shared: Arc<Shared>, turn: Arc<Mutex<()>>) -> Self {
        Self { shared, turn }
    }

    /// Until the hand closes.
    pub(super) async fn run(self) {
        let shared = Arc::clone(&self.shared);
        let Handlers::Batch(table) = &shared.handlers else { return };
        loop {
            let gathered = {
                let _turn = self.turn.lock().await;
                self.gather(table).await
            };
            match gathered {
                Some(gathered) => self.call(gathered).await,
                None => return,
            }
            // What is tried again at once is for whoever gathers now.
            if shared.hand.wake_another() {
                tokio::task::yield_now().await;
            }
            shared.wake_finishing().await;
        }
    }

    /// Waits for a first message, then for more, up to `max` or `linger`. `None`: the hand closed.
    async fn gather(&self, table: &Table<dyn BatchEndpoint>) -> Option<Gathered> {
        let shared = &self.shared;
        let (max, linger) = (shared.config.batch.max, shared.config.batch.linger);
        let mut gathered: Option<Gathered> = None;
        let mut until = None;
        loop {
            // Some may have been skipped.
            shared.wake_finishing().await;
            let job = match until {
                None => shared.hand.next().await,
                Some(until) => match tokio::time::timeout_at(until, shared.hand.next()).await {
                    Ok(job) => job,
                    Err(_) => return gathered,
                },
            };
            // What was gathered before the end is still handled.
            let Some(job) = job else { return gathered };
            self.add(table, job, &mut gathered).await;
            let count = gathered.as_ref().map_or(0, |g| g.items.len());
            if count >= max {
                return gathered;
            }
            if count > 0 {
                until.get_or_insert(shared.clock.instant() + linger);
            }
        }
    }

    async fn add(
        &self,
        table: &Table<dyn BatchEndpoint>,
        job: Job,
        gathered: &mut Option<Gathered>,
    ) {
        let shared = &self.shared;
        if let Some(stage) = shared.screen(&job.attempt.delivery) {
            return shared.stopped(job, stage);
        }
        let Some(endpoint) = table.find(job.attempt.delivery.message.message_type()) else {
            return shared.unreadable(job, Unreadable::UnknownType);
        };
        let batch = gathered
            .get_or_insert_with(|| Gathered { gathering: endpoint.gather(), items: Vec::new() });
        if let Err(error) = guard_decode(|| batch.gathering.push(&job.attempt)) {
            return shared.unreadable(job, Unreadable::Malformed(error));
        }
        match shared.admit(&job).await {
            Stage::Handle(ticket) => {
                let job = Job { held: ticket.held, ..job };
                if shared.config.ack == AckMode::Before && !shared.ack_before(job.key).await {
                    batch.gathering.pop();
                    return shared.unhandled(job, ticket.probe);
                }
                job.attempt.open();
                batch.items.push((job, ticket.probe));
            }
            other => {
                batch.gathering.pop();
                shared.stopped(job, other);
            }
        }
    }

    async fn call(&self, gathered: Gathered) {
        let Gathered { gathering, items } = gathered;
        if items.is_empty() {
            return;
        }
        let shared = &self.shared;
        let start = shared.clock.instant();
        let span = tracing::debug_span!(
            target: "polymq::process",
            "process",
            messaging.operation.name = "process",
            messaging.destination.name = %shared.config.channel,
            messaging.batch.message_count = items.len(),
            polymq.consumer = %shared.config.name,
        );
        // The call itself may panic, before there is a future.
        let handler = AssertUnwindSafe(async move { gathering.run().await });
        let timeout = shared.config.timeout;
        let mut handler = Box::pin(handler.catch_unwind().instrument(span));
        let result = tokio::time::timeout(timeout, handler.as_mut()).await;
        // What a cancelled handler drops may panic in its turn.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(handler)));
        let result = into_result(result, timeout);
        shared.took(&result, shared.clock.instant() - start);
        let count = items.len();
        let answers = result.and_then(|answers| match answers.len() {
            n if n == count => Ok(answers),
            n => {
                Err(HandlerError::new(format!("the handler gave {n} answers for {count} messages")))
            }
        });
        let mut answers = match answers {
            Ok(answers) => answers.into_iter(),
            Err(error) => vec![Err(error); count].into_iter(),
        };
        for (job, probe) in items {
            let outputs = job.attempt.close();
            shared.ended(
                job,
                probe,
                answers.next().unwrap_or_else(|| Err("no answer".into())),
                outputs,
            );
        }
    }
}
