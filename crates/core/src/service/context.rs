use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::HandlerError;
use super::handler_error::CLASS_OUTPUT;
use crate::clock::Clock;
use crate::model::{
    ChannelName, ConsumerName, Delivery, GroupName, Headers, Message, MessageId, Origin, Payload,
    RESERVED_PREFIX, Timestamp, hop,
};
use crate::observe::TraceContext;
use crate::publish::Route;
use crate::{Error, ErrorKind, Result};

/// A message that a handler wants published once it has succeeded.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) route: Arc<Route>,
    pub(crate) send: crate::broker::Send,
}

/// What the attempts of one consumer share.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) consumer: ConsumerName,
    pub(crate) channel: ChannelName,
    pub(crate) group: GroupName,
    pub(crate) outputs: Vec<Arc<Route>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A message in hand and the attempts at it. The pipeline reuses these, so a message allocates
/// nothing here.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) scope: Arc<Scope>,
    pub(crate) delivery: Delivery,
    pub(crate) id: MessageId,
    /// The number of this attempt, or of the one that comes next.
    pub(crate) number: u32,
    pub(crate) first_failure: Option<Timestamp>,
    pub(crate) trace: Option<TraceContext>,
    /// The application's headers, without polymq's own.
    headers: Headers,
    open: AtomicBool,
    outputs: Mutex<Vec<Output>>,
}

impl Clone for Attempt {
    /// The same message, without what an attempt at it has published.
    fn clone(&self) -> Self {
        Self {
            scope: Arc::clone(&self.scope),
            delivery: self.delivery.clone(),
            id: self.id.clone(),
            number: self.number,
            first_failure: self.first_failure,
            trace: self.trace,
            headers: self.headers.clone(),
            open: AtomicBool::new(false),
            outputs: Mutex::default(),
        }
    }
}

impl Attempt {
    pub(crate) fn new(scope: &Arc<Scope>, delivery: Delivery) -> Self {
        let mut headers = delivery.message.headers().clone();
        headers.retain(|name| !name.starts_with(RESERVED_PREFIX));
        Self {
            id: id_of(&delivery, scope),
            number: delivery.attempt(),
            first_failure: match delivery.origin {
                Origin::Channel => None,
                Origin::RetryInbox => hop::first_failure(delivery.message.headers()),
            },
            trace: TraceContext::of(&headers),
            scope: Arc::clone(scope),
            delivery,
            headers,
            open: AtomicBool::new(false),
            outputs: Mutex::default(),
        }
    }

    /// Takes another message in the place of the one that is done.
    pub(crate) fn reuse(&mut self, delivery: Delivery) {
        *self = Self::new(&Arc::clone(&self.scope), delivery);
    }

    /// Lets go of a message that is done, so that nothing of it is kept until the next one.
    pub(crate) fn clear(&mut self) {
        self.delivery.message = Message::default();
        self.headers = Headers::new();
    }

    /// Begins an attempt: its context can publish.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Ends the attempt: what leaked contexts publish from now on is refused.
    pub(crate) fn close(&self) -> Vec<Output> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        self.open.store(false, Ordering::Release);
        std::mem::take(&mut *outputs)
    }

    fn publish(&self, channel: &str, message: Message) -> Result<()> {
        let route = self
            .scope
            .outputs
            .iter()
            .find(|route| route.channel == *channel)
            .ok_or_else(|| self.undeclared(channel))?;
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.open.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the attempt has ended")
                .with_operation("publish")
                .with_channel(channel)
                .with_help("publish before the handler returns, or use a Publisher"));
        }
        let message = self.stamp(message, channel, outputs.len());
        let send = route.prepare(message, self.scope.clock.now())?;
        outputs.push(Output { route: Arc::clone(route), send });
        Ok(())
    }

    /// The same input gives the same output id in every execution, so that it is recognised
    /// downstream.
    fn stamp(&self, mut message: Message, channel: &str, index: usize) -> Message {
        let scope = &self.scope;
        if message.id().is_none() {
            message.set_id(Some(MessageId::derived(&[
                scope.channel.as_str().as_bytes(),
                scope.group.as_str().as_bytes(),
                self.id.as_str().as_bytes(),
                channel.as_bytes(),
                message.message_type().unwrap_or_default().as_bytes(),
                &(index as u64).to_be_bytes(),
            ])));
        }
        if message.causation_id().is_none() {
            message = message.with_causation_id(self.id.as_str());
        }
        if message.correlation_id().is_none() {
            let correlation = self.delivery.message.correlation_id().unwrap_or(self.id.as_str());
            message = message.with_correlation_id(correlation);
        }
        if let Some(trace) = self.trace.filter(|_| TraceContext::of(message.headers()).is_none()) {
            trace.child().write(message.headers_mut());
        }
        message
    }

    fn undeclared(&self, channel: &str) -> Error {
        let declared: Vec<_> = self.scope.outputs.iter().map(|o| o.channel.as_str()).collect();
        Error::new(ErrorKind::Config, format!("`{channel}` is not an output of this consumer"))
            .with_operation("publish")
            .with_context("consumer", &self.scope.consumer)
            .with_context("outputs", format!("[{}]", declared.join(", ")))
            .with_help(format!(
                "add \"{channel}\" to consumers.{}.outputs in the configuration",
                self.scope.consumer
            ))
    }
}

/// What a handler knows about the message in hand, and how it publishes.
///
/// Cheap to clone. It belongs to one attempt: what is published after the handler has returned is
/// refused.
pub struct Context<S> {
    attempt: Arc<Attempt>,
    state: Arc<S>,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self { attempt: Arc::clone(&self.attempt), state: Arc::clone(&self.state) }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("consumer", &self.attempt.scope.consumer)
            .field("id", &self.attempt.id)
            .field("attempt", &self.attempt.number)
            .finish_non_exhaustive()
    }
}

impl<S> Context<S> {
    pub(crate) fn new(attempt: Arc<Attempt>, state: Arc<S>) -> Self {
        Self { attempt, state }
    }

    /// The service's state.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The message's id. A foreign message without one has an id made from its position; without
    /// a position, a random one that differs in each delivery.
    #[must_use]
    pub fn id(&self) -> &MessageId {
        &self.attempt.id
    }

    /// 1 for the first try, one more for each recorded failure.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// The message, with polymq's own headers still in it.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.attempt.delivery.message
    }

    /// The application's headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.attempt.headers
    }

    /// The message's key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.message().key().map(AsRef::as_ref)
    }

    /// The delivery, with what the broker says about it.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.attempt.delivery
    }

    /// The channel it came from.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        &self.attempt.scope.channel
    }

    /// The group it is handled for.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        &self.attempt.scope.group
    }

    /// The consumer that handles it.
    #[must_use]
    pub fn consumer(&self) -> &ConsumerName {
        &self.attempt.scope.consumer
    }

    /// The trace that the message belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.attempt.trace
    }

    /// The wall clock of the service.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.attempt.scope.clock.now()
    }

    /// Publishes a typed payload if this attempt succeeds: it is sent and confirmed after the
    /// handler has returned `Ok`, and before the message is acked.
    ///
    /// The output's id follows from the message and the order of publishing, so a second execution
    /// of the same message publishes the same ids.
    ///
    /// # Errors
    /// Permanent ones, which fail the attempt for good when passed on with `?`: an output that the
    /// consumer doesn't declare, a payload without an encoding, a message above the limits.
    #[allow(clippy::needless_pass_by_value, reason = "a handler is done with what it publishes")]
    pub fn publish<P: Payload>(
        &self,
        channel: &str,
        payload: P,
    ) -> std::result::Result<(), HandlerError> {
        let message = Message::of(&payload).map_err(permanent)?;
        self.publish_message(channel, message)
    }

    /// Publishes a message if this attempt succeeds; otherwise as [`Context::publish`].
    ///
    /// # Errors
    /// As [`Context::publish`].
    pub fn publish_message(
        &self,
        channel: &str,
        message: Message,
    ) -> std::result::Result<(), HandlerError> {
        self.attempt.publish(channel, message).map_err(permanent)
    }
}

fn permanent(error: Error) -> HandlerError {
    HandlerError::from(error).class(CLASS_OUTPUT).permanent()
}

/// The id under which a message is handled: its own, or one made from its position. Without either
/// it is random, and differs in each delivery.
fn id_of(delivery: &Delivery, scope: &Scope) -> MessageId {
    match (delivery.message.id(), delivery.position) {
        (Some(id), _) => id.clone(),
        (None, Some(position)) => MessageId::derived(&[
            scope.channel.as_str().as_bytes(),
            &position.partition.to_be_bytes(),
            &position.offset.to_be_bytes(),
        ]),
        (None, None) => MessageId::generate(scope.clock.now()),
    }
}
