use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::endpoint::{Batch, BatchEndpoint, Endpoint, Single};
use super::hooks::Hooks;
use super::{Context, DeadLettered, HandlerError, Input, Middleware, Retried};
use crate::model::Message;

/// What identifies a message to deduplication, if not its id.
pub(crate) type Identity = Arc<dyn Fn(&Message) -> Option<String> + Send + Sync>;

type Build<S, T> = Box<dyn FnOnce(Arc<S>, Arc<[Arc<dyn Middleware<S>>]>) -> T + Send>;

enum Handler<S> {
    Single(Build<S, Arc<dyn Endpoint>>),
    Batch(Build<S, Arc<dyn BatchEndpoint>>),
}

/// The handlers of one consumer, without their types.
#[derive(Default)]
pub(crate) struct Binding {
    /// By message type; `None` takes what no other takes.
    pub(crate) singles: Vec<(Option<&'static str>, Arc<dyn Endpoint>)>,
    pub(crate) batches: Vec<(Option<&'static str>, Arc<dyn BatchEndpoint>)>,
    pub(crate) identity: Option<Identity>,
}

/// An application: its state, and the handlers of its consumers.
///
/// ```
/// use polymq_core::{Context, HandlerError, Payload, ResultExt, Service};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct OrderPlaced { order: String, email: String }
/// impl Payload for OrderPlaced { const TYPE: &'static str = "order.placed"; }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct ReceiptSent { order: String }
/// impl Payload for ReceiptSent { const TYPE: &'static str = "receipt.sent"; }
///
/// struct Smtp;
/// impl Smtp {
///     async fn send(&self, _to: &str) -> Result<(), std::io::Error> { Ok(()) }
/// }
///
/// async fn send_receipt(o: OrderPlaced, ctx: Context<Smtp>) -> Result<(), HandlerError> {
///     if o.email.is_empty() { Err("no address").permanent()? }    // dead-lettered now
///     ctx.state().send(&o.email).await?;                          // any error: retried
///     ctx.publish("receipts", ReceiptSent { order: o.order })     // sent only if this returns Ok
/// }
///
/// let service = Service::new(Smtp).on("mailer", send_receipt);
/// # let _ = service;
/// ```
pub struct Service<S> {
    state: Arc<S>,
    handlers: Vec<(String, Option<&'static str>, Handler<S>)>,
    layers: Vec<Arc<dyn Middleware<S>>>,
    identities: Vec<(String, Identity)>,
    hooks: Hooks,
}

impl<S> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers: Vec<_> = self.handlers.iter().map(|(c, t, _)| (c, t)).collect();
        f.debug_struct("Service").field("handlers", &handlers).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> Service<S> {
    /// A service without handlers.
    #[must_use]
    pub fn new(state: S) -> Self {
        Self {
            state: Arc::new(state),
            handlers: Vec::new(),
            layers: Vec::new(),
            identities: Vec::new(),
            hooks: Hooks::default(),
        }
    }

    /// Registers a handler for a consumer: an async function of a typed payload, or of a
    /// [`Message`] for all that no typed handler takes.
    ///
    /// A consumer can have several, for different types. A message without a type goes to the only
    /// handler, if there is one. Two handlers for one type are refused at start, as is a consumer
    /// that the configuration doesn't have.
    #[must_use]
    pub fn on<I, F, Fut>(mut self, consumer: &str, handler: F) -> Self
    where
        I: Input,
        F: Fn(I, Context<S>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let build = move |state, layers| -> Arc<dyn Endpoint> {
            Arc::new(Single { state, layers, handler, input: PhantomData::<fn(I)> })
        };
        self.handlers.push((consumer.to_owned(), I::TYPE, Handler::Single(Box::new(build))));
        self
    }

    /// Registers a batch handler for a consumer: it gets up to `batch.max` messages, gathered for
    /// at most `batch.linger`, and answers per message, in order, or with one error for all.
    ///
    /// Expiry, due time and deduplication are decided per message, before the handler. On an
    /// ordered channel a batch holds at most one message per key.
    #[must_use]
    pub fn on_batch<I, F, Fut>(mut self, consumer: &str, handler: F) -> Self
    where
        I: Input,
        F: Fn(Vec<(I, Context<S>)>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Result<(), HandlerError>>, HandlerError>> + Send + 'static,
    {
        let build = move |state, layers| -> Arc<dyn BatchEndpoint> {
            Arc::new(Batch { state, layers, handler, input: PhantomData::<fn(I)> })
        };
        self.handlers.push((consumer.to_owned(), I::TYPE, Handler::Batch(Box::new(build))));
        self
    }

    /// Wraps every handler of the service; the first one added is the outermost.
    #[must_use]
    pub fn layer(mut self, middleware: impl Middleware<S>) -> Self {
        self.layers.push(Arc::new(middleware));
        self
    }

    /// Says what identifies a message to a consumer's deduplication, instead of its id. `None`
    /// from the function falls back to the id.
    #[must_use]
    pub fn dedup_key(
        mut self,
        consumer: &str,
        identity: impl Fn(&Message) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.identities.push((consumer.to_owned(), Arc::new(identity)));
        self
    }

    /// Calls an observer after a retry was recorded. It must not block.
    #[must_use]
    pub fn on_retry(mut self, hook: impl Fn(&Retried) + Send + Sync + 'static) -> Self {
        self.hooks.retried.push(Arc::new(hook));
        self
    }

    /// Calls an observer after a dead letter was confirmed. It must not block.
    #[must_use]
    pub fn on_dead_letter(mut self, hook: impl Fn(&DeadLettered) + Send + Sync + 'static) -> Self {
        self.hooks.dead_lettered.push(Arc::new(hook));
        self
    }

    /// The handlers by consumer, without their types.
    pub(crate) fn into_bindings(self) -> (BTreeMap<String, Binding>, Hooks) {
        let layers: Arc<[_]> = self.layers.into();
        let mut bindings: BTreeMap<String, Binding> = BTreeMap::new();
        for (consumer, input, handler) in self.handlers {
            let binding = bindings.entry(consumer).or_default();
            let (state, layers) = (Arc::clone(&self.state), Arc::clone(&layers));
            match handler {
                Handler::Single(build) => binding.singles.push((input, build(state, layers))),
                Handler::Batch(build) => binding.batches.push((input, build(state, layers))),
            }
        }
        for (consumer, identity) in self.identities {
            bindings.entry(consumer).or_default().identity = Some(identity);
        }
        (bindings, self.hooks)
    }
}
