use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Context, HandlerError};

/// The future of a handler, as middleware sees it.
pub(crate) type HandlerFuture<'a> =
    Pin<&'a mut (dyn Future<Output = Result<(), HandlerError>> + Send)>;

/// One call of a handler.
#[derive(Debug)]
pub struct Call<'a, S> {
    /// The messages: one, or those of a batch.
    pub contexts: &'a [Context<S>],
}

/// Wraps every call of a handler: for timing, authorisation, test doubles and the like.
///
/// Middleware runs inside the attempt, after deduplication and within its timeout; the stages of the
/// pipeline cannot be reordered by it. Returning without running `next` skips the handler. For a
/// batch, an error fails all of its messages, and the handler's own answers stay per message.
#[async_trait]
pub trait Middleware<S>: Send + Sync + 'static {
    /// Runs before, around or instead of the handler.
    ///
    /// # Errors
    /// The attempt's failure.
    async fn handle(&self, call: Call<'_, S>, next: Next<'_, S>) -> Result<(), HandlerError>
    where
        S: 'async_trait;
}

/// The rest of the way to the handler.
pub struct Next<'a, S> {
    rest: &'a [Arc<dyn Middleware<S>>],
    contexts: &'a [Context<S>],
    handler: HandlerFuture<'a>,
}

impl<S> std::fmt::Debug for Next<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").field("layers", &self.rest.len()).finish_non_exhaustive()
    }
}

impl<'a, S: Send + Sync + 'static> Next<'a, S> {
    pub(crate) fn new(
        rest: &'a [Arc<dyn Middleware<S>>],
        contexts: &'a [Context<S>],
        handler: HandlerFuture<'a>,
    ) -> Self {
        Self { rest, contexts, handler }
    }

    /// Runs the next middleware, or the handler.
    ///
    /// # Errors
    /// What they failed with.
    pub async fn run(self) -> Result<(), HandlerError> {
        match self.rest.split_first() {
            None => self.handler.await,
            Some((first, rest)) => {
                let next = Next { rest, contexts: self.contexts, handler: self.handler };
                first.handle(Call { contexts: self.contexts }, next).await
            }
        }
    }
}
