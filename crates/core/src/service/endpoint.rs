//! Handlers without their types: what the pipeline calls.

use std::future::ready;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;

use tokio_util::sync::ReusableBoxFuture;

use super::middleware::{Middleware, Next};
use super::{Attempt, Context, HandlerError, Input};
use crate::Result;

pub(crate) type Answer = Result<(), HandlerError>;

/// A worker's place for the future of the attempt it runs: reused, so that a handler that fits
/// allocates nothing.
pub(crate) type AttemptFuture = ReusableBoxFuture<'static, Answer>;

/// A handler of single messages.
pub(crate) trait Endpoint: Send + Sync {
    /// Decodes the message and puts the handler's future into `place`. The handler itself has not
    /// begun before that future is polled.
    fn prepare(&self, attempt: &Arc<Attempt>, place: &mut AttemptFuture) -> Result<()>;
}

/// A handler of batches.
pub(crate) trait BatchEndpoint: Send + Sync {
    /// A batch to fill.
    fn gather(&self) -> Box<dyn Gathering>;
}

/// A batch that is being filled.
pub(crate) trait Gathering: Send {
    /// Decodes a message into the batch.
    fn push(&mut self, attempt: &Arc<Attempt>) -> Result<()>;
    /// Takes the last one out again.
    fn pop(&mut self);
    /// Calls the handler: an answer per message, or one for all.
    fn run(self: Box<Self>) -> Pin<Box<dyn Future<Output = BatchAnswer> + Send>>;
}

pub(crate) type BatchAnswer = Result<Vec<Answer>, HandlerError>;

pub(crate) type Layers<S> = Arc<[Arc<dyn Middleware<S>>]>;

pub(super) struct Single<S, I, F> {
    pub(super) state: Arc<S>,
    pub(super) layers: Layers<S>,
    pub(super) handler: F,
    pub(super) input: PhantomData<fn(I)>,
}

impl<S, I, F, Fut> Endpoint for Single<S, I, F>
where
    S: Send + Sync + 'static,
    I: Input,
    F: Fn(I, Context<S>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    fn prepare(&self, attempt: &Arc<Attempt>, place: &mut AttemptFuture) -> Result<()> {
        let input = I::from_message(&attempt.delivery.message)?;
        let context = Context::new(Arc::clone(attempt), Arc::clone(&self.state));
        let handler = self.handler.clone();
        if self.layers.is_empty() {
            // A closure may do work before it returns its future: not before the attempt begins.
            place.set(async move { handler(input, context).await });
        } else {
            let layers = Arc::clone(&self.layers);
            place.set(async move {
                let contexts = [context.clone()];
                let handler = pin!(async move { handler(input, context).await });
                Next::new(&layers, &contexts, handler).run().await
            });
        }
        Ok(())
    }
}

pub(super) struct Batch<S, I, F> {
    pub(super) state: Arc<S>,
    pub(super) layers: Layers<S>,
    pub(super) handler: F,
    pub(super) input: PhantomData<fn(I)>,
}

struct Filling<S, I, F> {
    state: Arc<S>,
    layers: Layers<S>,
    handler: F,
    items: Vec<(I, Context<S>)>,
}

impl<S, I, F, Fut> BatchEndpoint for Batch<S, I, F>
where
    S: Send + Sync + 'static,
    I: Input,
    F: Fn(Vec<(I, Context<S>)>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = BatchAnswer> + Send + 'static,
{
    fn gather(&self) -> Box<dyn Gathering> {
        Box::new(Filling {
            state: Arc::clone(&self.state),
            layers: Arc::clone(&self.layers),
            handler: self.handler.clone(),
            items: Vec::new(),
        })
    }
}

impl<S, I, F, Fut> Gathering for Filling<S, I, F>
where
    S: Send + Sync + 'static,
    I: Input,
    F: Fn(Vec<(I, Context<S>)>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = BatchAnswer> + Send + 'static,
{
    fn push(&mut self, attempt: &Arc<Attempt>) -> Result<()> {
        let input = I::from_message(&attempt.delivery.message)?;
        self.items.push((input, Context::new(Arc::clone(attempt), Arc::clone(&self.state))));
        Ok(())
    }

    fn pop(&mut self) {
        self.items.pop();
    }

    fn run(self: Box<Self>) -> Pin<Box<dyn Future<Output = BatchAnswer> + Send>> {
        let Self { layers, handler, items, .. } = *self;
        if layers.is_empty() {
            return Box::pin(async move { handler(items).await });
        }
        Box::pin(async move {
            let contexts: Vec<Context<S>> = items.iter().map(|(_, c)| c.clone()).collect();
            let mut answers = None;
            {
                let handler = pin!(async {
                    answers = Some(handler(items).await);
                    Ok(())
                });
                Next::new(&layers, &contexts, handler).run().await?;
            }
            // Middleware that skips the handler and succeeds answers for all.
            answers.unwrap_or_else(|| Ok(contexts.iter().map(|_| Ok(())).collect()))
        })
    }
}

/// An empty place for futures.
pub(crate) fn empty_future() -> AttemptFuture {
    ReusableBoxFuture::new(ready(Ok(())))
}
