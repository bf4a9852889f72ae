use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use polymq_core::{Call, ConsumerName, HandlerError, MessageId, Middleware, Next};

/// One message's way through a handler.
#[derive(Debug)]
struct Attempt {
    consumer: ConsumerName,
    id: MessageId,
    number: u32,
    end: &'static str,
    error: String,
}

/// Writes down every run of a handler; next to the handler, so that what other middleware keeps
/// from it is not counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(Arc<Mutex<Vec<Attempt>>>);

impl Attempts {
    fn all(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runs of a consumer's handlers, for people.
    pub(super) fn of(&self, consumer: &str) -> Vec<String> {
        let all = self.all();
        let attempts = all.iter().filter(|a| a.consumer.as_str() == consumer);
        attempts.map(|a| format!("{} attempt {}: {}{}", a.id, a.number, a.end, a.error)).collect()
    }
}

#[async_trait]
impl<S: Send + Sync + 'static> Middleware<S> for Attempts {
    async fn handle(&self, call: Call<'_, S>, next: Next<'_, S>) -> Result<(), HandlerError>
    where
        S: 'async_trait,
    {
        let start = {
            let mut all = self.all();
            let start = all.len();
            all.extend(call.contexts.iter().map(|ctx| Attempt {
                consumer: ctx.consumer().clone(),
                id: ctx.id().clone(),
                number: ctx.attempt(),
                end: "did not end: it runs, panicked, or was cancelled",
                error: String::new(),
            }));
            start
        };
        let result = next.run().await;
        for attempt in self.all().iter_mut().skip(start).take(call.contexts.len()) {
            match &result {
                Ok(()) => attempt.end = "returned",
                Err(error) => {
                    attempt.end = "failed: ";
                    attempt.error = error.to_string();
                }
            }
        }
        result
    }
}
