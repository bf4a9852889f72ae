//! Which exchange and routing key lead a message to its destination.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lapin::types::ShortString;
use polymq_core::Clock;
use polymq_core::broker::{ChannelKind, Destination, Send};
use polymq_core::{ErrorKind, Result};

use crate::error;
use crate::layout::{ChannelLayout, Layout};
use crate::steps;

/// The longest routing key.
const LONGEST_KEY: usize = 255;

/// Where one message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// Empty for the default exchange, which leads to the queue that the key names.
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
}

#[derive(Debug)]
pub(super) struct Router {
    layout: Arc<Layout>,
    clock: Arc<dyn Clock>,
    /// The delay steps, in seconds, that the broker has as far as is known.
    steps: RwLock<Vec<u64>>,
}

impl Router {
    pub(super) fn new(layout: Arc<Layout>, clock: Arc<dyn Clock>, steps: Vec<u64>) -> Self {
        Self { layout, clock, steps: RwLock::new(steps) }
    }

    /// The objects behind the routes.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Refuses what has no route.
    pub(super) fn check(&self, send: &Send) -> Result<()> {
        let destination = &send.destination;
        let unknown = || error::no_destination(destination);
        match destination {
            Destination::RetryInbox { channel, group } => {
                self.layout.group(channel, group).ok_or_else(unknown)?;
            }
            _ if send.at.is_some() => return Err(error::delay_elsewhere(destination)),
            Destination::Channel(name) | Destination::DeadLetter(name) => {
                let layout = self.layout.channel(name).ok_or_else(unknown)?;
                let key = channel_key_length(layout, &send.message);
                if key > LONGEST_KEY {
                    return Err(polymq_core::Error::new(
                        ErrorKind::TooLarge,
                        format!("the subject has {key} bytes; RabbitMQ takes {LONGEST_KEY}, partition included"),
                    )
                    .with_help("shorten the subject"));
                }
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Whether a confirm is only worth something when the message was not returned.
    pub(super) fn is_mandatory(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Channel(name) => self
                .layout
                .channel(name)
                .is_some_and(|c| c.exchange_is_bound && c.kind == ChannelKind::Queue),
            _ => true,
        }
    }

    /// The way of a message that [`check`](Router::check) has passed, as of now. `None`: the topology
    /// has lost every delay step.
    pub(super) fn route(&self, send: &Send) -> Option<Route> {
        match &send.destination {
            Destination::Channel(name) => {
                let channel = self.layout.channel(name)?;
                Some(Route { exchange: channel.exchange.clone(), key: channel_key(channel, send) })
            }
            Destination::DeadLetter(name) => {
                let queue = self.layout.group(name, &name.into())?.queues.into_iter().next()?;
                Some(Route { exchange: ShortString::default(), key: queue })
            }
            Destination::RetryInbox { channel, group } => {
                let inbox = self.layout.group(channel, group)?.inbox;
                let now = self.clock.now();
                let wait = send.at.map_or(Duration::ZERO, |at| at.saturating_since(now));
                let exchange = if wait.is_zero() {
                    ShortString::default()
                } else {
                    let steps = self.steps.read().unwrap_or_else(PoisonError::into_inner);
                    self.layout.delay(steps::choose(&steps, wait)?)
                };
                Some(Route { exchange, key: inbox })
            }
            _ => None,
        }
    }

    /// Takes note that the exchange of a step is not there: others have to do. Says whether it was one
    /// of a step.
    pub(super) fn forget(&self, exchange: &ShortString) -> bool {
        let mut steps = self.steps.write().unwrap_or_else(PoisonError::into_inner);
        let before = steps.len();
        steps.retain(|step| self.layout.delay(*step) != *exchange);
        steps.len() < before
    }
}

fn channel_key(channel: &ChannelLayout, send: &Send) -> ShortString {
    if let Some(key) = &channel.routing_key {
        return key.clone();
    }
    let message = &send.message;
    let subject = message.subject().unwrap_or_default();
    match channel.partition(message.key().map(|key| key.as_ref())) {
        None => subject.into(),
        Some(partition) if subject.is_empty() => partition.to_string().into(),
        Some(partition) => format!("{partition}.{subject}").into(),
    }
}

fn channel_key_length(channel: &ChannelLayout, message: &polymq_core::Message) -> usize {
    let subject = message.subject().map_or(0, str::len);
    // The longest partition number, and the dot.
    subject + channel.partitions.map_or(0, |count| count.to_string().len() + 1)
}
