use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use polymq_core::broker::Settlement;
use polymq_core::{Context, HandlerError, Message, Running, Service};
use tokio::time::Instant;

use super::{id_of, receive, settle, subscribe, until};
use crate::ledger::{Ledger, Tally};

/// One attempt, as its handler saw it.
#[derive(Debug, Clone)]
pub(in crate::conformance) struct Seen {
    pub(in crate::conformance) id: String,
    pub(in crate::conformance) attempt: u32,
    pub(in crate::conformance) at: Instant,
    pub(in crate::conformance) message: Message,
    pub(in crate::conformance) trace: Option<String>,
}

/// Records the attempts of a service, and the messages whose attempt succeeded.
#[derive(Debug, Default)]
pub(in crate::conformance) struct Probe {
    seen: Mutex<Vec<Seen>>,
    pub(in crate::conformance) ledger: Ledger,
}

impl Probe {
    /// A service whose consumer `handler` records each attempt, then does what `act` says.
    pub(in crate::conformance) fn service<F>(act: F) -> (Arc<Self>, Service<Arc<Self>>)
    where
        F: Fn(&Seen) -> Result<(), HandlerError> + Clone + Send + Sync + 'static,
    {
        let probe = Arc::<Self>::default();
        let handle = move |message: Message, context: Context<Arc<Self>>| {
            let act = act.clone();
            async move {
                let seen = Seen {
                    id: context.id().to_string(),
                    attempt: context.attempt(),
                    at: Instant::now(),
                    message,
                    trace: context.trace().map(|trace| trace.trace_id()),
                };
                let acted = act(&seen);
                let id = seen.id.clone();
                context.state().lock().push(seen);
                if acted.is_ok() {
                    context.state().ledger.received(&id);
                }
                acted
            }
        };
        (Arc::clone(&probe), Service::new(probe).on("handler", handle))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::conformance) fn attempts(&self) -> usize {
        self.lock().len()
    }

    /// All attempts, in the order in which they ended.
    pub(in crate::conformance) fn all(&self) -> Vec<Seen> {
        self.lock().clone()
    }

    /// The attempts at one message, in order.
    pub(in crate::conformance) fn of(&self, id: &str) -> Vec<Seen> {
        self.lock().iter().filter(|seen| seen.id == id).cloned().collect()
    }

    /// Publishes through the app's publisher and enters what became of each message.
    pub(in crate::conformance) async fn publish(
        &self,
        running: &Running,
        channel: &str,
        messages: Vec<Message>,
    ) -> Result<()> {
        let ids: Vec<String> = messages.iter().map(id_of).collect();
        for (id, message) in ids.iter().zip(&messages) {
            self.ledger.sent(id, message.key().map(AsRef::as_ref));
        }
        let outcomes = running.publisher().publish_all(channel, messages).await?;
        for (id, outcome) in ids.iter().zip(outcomes) {
            self.ledger.outcome(id, &outcome);
            outcome.into_result()?;
        }
        Ok(())
    }

    /// Waits until `count` messages were handled.
    pub(in crate::conformance) async fn handled(&self, count: u64) -> Result<()> {
        until(&format!("{count} messages were handled"), || self.ledger.distinct() >= count).await
    }

    pub(in crate::conformance) fn tally(&self) -> Tally {
        self.ledger.tally()
    }
}

/// Takes the next `count` messages from a dead-letter channel.
pub(in crate::conformance) async fn read_dead_letters(
    running: &Running,
    channel: &str,
    count: usize,
) -> Result<Vec<Message>> {
    let broker = running.broker_of(channel)?;
    let consumer = subscribe(&**broker, channel, channel, count.max(1)).await?;
    let letters = receive(&*consumer, count).await?;
    settle(&*consumer, &letters, Settlement::Ack).await?;
    consumer.close(super::soon()).await?;
    Ok(letters.into_iter().map(|d| d.message).collect())
}
