use std::sync::Arc;
use std::time::Duration;

use super::{Route, Routes};
use crate::broker::{Confirmation, Outcome, Send};
use crate::clock::{Clock, FAR};
use crate::config::{PublishConfig, WhenFull};
use crate::model::{Message, Payload};
use crate::{Error, Result};

/// How long a publish may take, and what it does when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// How long until a publish returns, with or without a confirmation.
    pub deadline: Duration,
    /// What happens when the window or the channel is full.
    pub when_full: WhenFull,
}

impl From<&PublishConfig> for PublishOptions {
    fn from(config: &PublishConfig) -> Self {
        Self { deadline: config.deadline, when_full: config.when_full }
    }
}

/// Publishes to channels by name. Cheap to clone; clones share the window of each broker.
///
/// A publish resolves when the broker has confirmed, so `Ok` means that the message is the
/// broker's. An error says whether the message is certainly not there (*rejected*) or may be there
/// (*unconfirmed*: the error's context says so). Dropping the future leaves the message's fate
/// unknown. On a channel with `order_by = "key"` messages of one key keep the order in which they
/// were published.
///
/// Tasks that publish at the same time share batches: there is no need to batch by hand, but
/// [`publish_all`](Publisher::publish_all) saves the coordination.
///
/// Headers that begin with `polymq-` are removed. A message without an id or a timestamp gets them.
/// Messages larger than the broker's limit less 16 KiB, and those with more headers than its limit
/// less 16, are refused, so that a retry or a dead letter always has room for its envelope.
#[derive(Debug, Clone)]
pub struct Publisher {
    routes: Arc<Routes>,
    clock: Arc<dyn Clock>,
    options: PublishOptions,
}

impl Publisher {
    pub(crate) fn new(routes: Arc<Routes>, clock: Arc<dyn Clock>, options: PublishOptions) -> Self {
        Self { routes, clock, options }
    }

    /// A publisher with another deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// A publisher that does something else when there is no room.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.options.when_full = when_full;
        self
    }

    /// Publishes a typed payload, with its type and key.
    ///
    /// # Errors
    /// As [`Publisher::publish_message`]; `Malformed` when the payload cannot be encoded.
    pub async fn publish<P: Payload>(&self, channel: &str, payload: &P) -> Result<Confirmation> {
        self.publish_message(channel, Message::of(payload)?).await
    }

    /// Publishes one message.
    ///
    /// # Errors
    /// `NotFound` for an unknown channel; `TooLarge`, `Unsupported` for a message that the channel
    /// cannot carry; `Full`, `Timeout`, `Closed` and the broker's own errors.
    pub async fn publish_message(&self, channel: &str, message: Message) -> Result<Confirmation> {
        let route = self.routes.get(channel)?;
        let send = route.prepare(message, self.clock.now())?;
        let deadline = self.clock.instant() + self.options.deadline.min(FAR);
        route
            .pump
            .publish(send, deadline, self.options.when_full)
            .await
            .into_result()
            .map_err(|e| at(route, e))
    }

    /// Publishes a batch, in order: one outcome per message, in order. Messages that are refused
    /// here (too large, say) don't hinder the others.
    ///
    /// # Errors
    /// `NotFound` for an unknown channel: nothing was published.
    pub async fn publish_all(
        &self,
        channel: &str,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<Vec<Outcome>> {
        let route = self.routes.get(channel)?;
        let now = self.clock.now();
        let mut refused: Vec<(usize, Error)> = Vec::new();
        let mut sends: Vec<Send> = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            match route.prepare(message, now) {
                Ok(send) => sends.push(send),
                Err(error) => refused.push((index, error)),
            }
        }
        let deadline = self.clock.instant() + self.options.deadline.min(FAR);
        let mut outcomes = route.pump.publish_all(sends, deadline, self.options.when_full).await;
        for (index, error) in refused {
            outcomes.insert(index, Outcome::Rejected(error));
        }
        Ok(outcomes)
    }
}

fn at(route: &Route, error: Error) -> Error {
    error
        .with_operation("publish")
        .with_channel(&route.channel)
        .with_broker(&route.pump.broker().info().name)
}
