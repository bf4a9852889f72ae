use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Tally;
use super::hand::Abandoned;
use super::task::Pipeline;
use crate::model::{ConsumerName, MessageId};

/// What a consumer had done and had left when it stopped.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct ConsumerReport {
    /// The consumer.
    pub consumer: ConsumerName,
    /// What it did since it started.
    pub tally: Tally,
    /// Messages whose handlers were cancelled at the deadline. They come again.
    pub cancelled: Vec<Option<MessageId>>,
    /// Messages whose sends or settlements had no answer by the deadline. They come again.
    pub unsettled: Vec<Option<MessageId>>,
    /// Messages of a consumer with `ack = "before"` that were acked and whose handling was not
    /// finished by the deadline. They do not come again.
    pub forfeited: Vec<Option<MessageId>>,
    /// Handlers that could not be cancelled, because they never yield.
    pub stuck: usize,
    /// What went wrong while closing.
    pub error: Option<String>,
}

impl ConsumerReport {
    /// Whether everything that was begun was finished.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cancelled.is_empty()
            && self.unsettled.is_empty()
            && self.forfeited.is_empty()
            && self.stuck == 0
            && self.error.is_none()
    }
}

/// How long a cancelled handler gets to reach its next await.
const CANCEL_GRACE: Duration = Duration::from_millis(200);

impl Pipeline {
    /// Stops intake, gives back what has not been started, finishes what has, flushes sends and
    /// settlements, and closes. At `deadline`, handlers are cancelled and their messages given back.
    pub(crate) async fn drain(self, deadline: Instant) -> ConsumerReport {
        let Self { shared, mut workers, intake, mut helpers } = self;
        intake.abort();
        shared.consumer.pause();
        let closed = shared.hand.close();
        // What is not released by then comes back when the consumer closes.
        let _ = timeout_at(deadline, shared.release(closed)).await;

        let finished = async { while workers.join_next().await.is_some() {} };
        if timeout_at(deadline, finished).await.is_err() {
            workers.abort_all();
            let grace = shared.clock.instant() + CANCEL_GRACE;
            let cancelled = async { while workers.join_next().await.is_some() {} };
            // What does not end now is reported as stuck.
            let _ = timeout_at(grace, cancelled).await;
        }
        let stuck = workers.len();
        workers.detach_all();

        shared.finishing.wake();
        let flushed = async {
            loop {
                let left = shared.hand.left.notified();
                tokio::pin!(left);
                left.as_mut().enable();
                if shared.hand.counts().settling == 0 {
                    return;
                }
                left.await;
            }
        };
        // Whatever is left after the deadline is in the report.
        let _ = timeout_at(deadline, flushed).await;
        helpers.shutdown().await;

        let mut report = ConsumerReport {
            consumer: shared.config.name.clone(),
            tally: Tally::default(),
            cancelled: Vec::new(),
            unsettled: Vec::new(),
            forfeited: Vec::new(),
            stuck,
            error: None,
        };
        let mut held = Vec::new();
        let mut tokens = Vec::new();
        for left in shared.hand.abandon() {
            let list = match left {
                Abandoned { acked: true, .. } => &mut report.forfeited,
                Abandoned { running: true, .. } => &mut report.cancelled,
                _ => &mut report.unsettled,
            };
            list.push(left.id);
            held.extend(left.held);
            tokens.extend(left.token);
        }
        shared.show_in_hand();
        let closing = deadline.max(shared.clock.instant() + CANCEL_GRACE);
        let released = async {
            shared.release_claims(held).await;
            shared.release_tokens(&tokens).await;
        };
        // What is not released comes back when the consumer closes.
        let _ = timeout_at(closing, released).await;
        report.error = shared.consumer.close(closing).await.err().map(|e| e.to_string());
        report.tally = shared.counters.tally();
        report
    }
}
