//! Which exchange and routing key lead a message to its destination.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::types::ShortString;
use polymq_core::Clock;
use polymq_core::broker::{ChannelKind, Destination, Send};
use polymq_core::{ErrorKind, Message, Result};
use tokio::time::Instant;

use crate::error;
use crate::layout::{ChannelLayout, Layout};
use crate::steps;

/// The longest routing key.
const LONGEST_KEY: usize = 255;

/// How long a delay step that was missing is travelled around before it is tried again: somebody may have
/// applied the topology.
const MISSING: Duration = Duration::from_secs(30);

/// Where one message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// Empty for the default exchange, which leads to the queue that the key names.
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
}

impl Route {
    fn to(channel: &ChannelLayout, message: &Message) -> Self {
        Self { exchange: channel.exchange.clone(), key: channel_key(channel, message) }
    }
}

#[derive(Debug)]
pub(super) struct Router {
    layout: Arc<Layout>,
    clock: Arc<dyn Clock>,
    /// The delay steps, in seconds, that the topology makes.
    made: Vec<u64>,
    steps: Mutex<Steps>,
}

/// The delay steps that the broker has, as far as is known.
#[derive(Debug)]
struct Steps {
    known: Vec<u64>,
    /// When the first one was missing.
    missing: Option<Instant>,
}

impl Router {
    pub(super) fn new(layout: Arc<Layout>, clock: Arc<dyn Clock>, steps: Vec<u64>) -> Self {
        let known = Steps { known: steps.clone(), missing: None };
        Self { layout, clock, made: steps, steps: Mutex::new(known) }
    }

    /// The objects behind the routes.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The way of a message as of now, and whether it is [mandatory](Self::is_mandatory). Refuses what has
    /// none.
    pub(super) fn find(&self, send: &Send) -> Result<(Route, bool)> {
        let destination = &send.destination;
        let unknown = || error::no_destination(destination);
        match destination {
            Destination::RetryInbox { channel, group } => {
                self.layout.group(channel, group).ok_or_else(unknown)?;
            }
            _ if send.at.is_some() => return Err(error::delay_elsewhere(destination)),
            Destination::Channel(name) => {
                let channel = self.layout.channel(name).ok_or_else(unknown)?;
                check_key(channel, &send.message)?;
                return Ok((Route::to(channel, &send.message), is_mandatory(channel)));
            }
            Destination::DeadLetter(name) => {
                check_key(self.layout.channel(name).ok_or_else(unknown)?, &send.message)?;
            }
            _ => return Err(unknown()),
        }
        let route = self.route(send).ok_or_else(|| error::unroutable(destination))?;
        Ok((route, true))
    }

    /// Whether a confirm is only worth something when the message was not returned.
    pub(super) fn is_mandatory(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Channel(name) => self.layout.channel(name).is_some_and(is_mandatory),
            _ => true,
        }
    }

    /// The way of a message that one was [found](Self::find) for, as of now. `None`: every delay step that
    /// the broker has is far too long.
    pub(super) fn route(&self, send: &Send) -> Option<Route> {
        match &send.destination {
            Destination::Channel(name) => {
                Some(Route::to(self.layout.channel(name)?, &send.message))
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
                    self.layout.delay(steps::choose(&self.steps().known, wait)?)
                };
                Some(Route { exchange, key: inbox })
            }
            _ => None,
        }
    }

    /// Takes note that the exchange of a step is not there. Says whether it was one, and there are others
    /// that have to do.
    pub(super) fn forget(&self, exchange: &ShortString) -> bool {
        let mut steps = self.steps();
        let before = steps.known.len();
        steps.known.retain(|step| self.layout.delay(*step) != *exchange);
        if steps.known.len() == before {
            return false;
        }
        steps.missing.get_or_insert_with(Instant::now);
        !steps.known.is_empty()
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.missing.is_some_and(|since| since.elapsed() >= MISSING) {
            *steps = Steps { known: self.made.clone(), missing: None };
        }
        steps
    }
}

/// The routing key: the channel's own or the message's subject, behind the partition where there is one.
fn channel_key(channel: &ChannelLayout, message: &Message) -> ShortString {
    let subject = subject(channel, message);
    match channel.partition(message.key().map(|key| key.as_ref())) {
        None => subject.into(),
        Some(partition) if subject.is_empty() => partition.to_string().into(),
        Some(partition) => format!("{partition}.{subject}").into(),
    }
}

fn is_mandatory(channel: &ChannelLayout) -> bool {
    channel.exchange_is_bound && channel.kind == ChannelKind::Queue
}

fn check_key(channel: &ChannelLayout, message: &Message) -> Result<()> {
    let key = channel_key_length(channel, message);
    if key <= LONGEST_KEY {
        return Ok(());
    }
    Err(polymq_core::Error::new(
        ErrorKind::TooLarge,
        format!("the subject makes a routing key of {key} bytes; RabbitMQ takes {LONGEST_KEY}, partition included"),
    )
    .with_help("shorten the subject"))
}

fn channel_key_length(channel: &ChannelLayout, message: &Message) -> usize {
    // The longest partition number, and the dot.
    let partition = channel.partitions.map_or(0, |count| count.to_string().len() + 1);
    subject(channel, message).len() + partition
}

fn subject<'a>(channel: &'a ChannelLayout, message: &'a Message) -> &'a str {
    match &channel.routing_key {
        Some(key) => key.as_str(),
        None => message.subject().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use polymq_core::broker::{ChannelSpec, Topology};
    use polymq_core::config::Settings;
    use polymq_core::{ChannelName, GroupName, Namespace, system_clock};

    use super::*;

    fn name() -> ChannelName {
        ChannelName::new("orders").unwrap()
    }

    fn router(spec: ChannelSpec, steps: Vec<u64>) -> Router {
        let topology =
            Topology { namespace: Namespace::new("prod").unwrap(), channels: vec![spec] };
        Router::new(Arc::new(Layout::new(&topology).unwrap()), system_clock(), steps)
    }

    fn retry(router: &Router, wait: Duration) -> Send {
        let destination =
            Destination::RetryInbox { channel: name(), group: GroupName::from(&name()) };
        let mut send = Send::new(destination, Message::new("x"));
        send.at = Some(router.clock.now() + wait);
        send
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_missing_is_travelled_around_for_a_while() {
        let router = router(ChannelSpec::queue(name()), vec![1, 2]);
        let exchange = || router.route(&retry(&router, Duration::from_secs(2))).map(|r| r.exchange);
        assert_eq!(exchange(), Some("prod._delay.2".into()));
        assert!(router.forget(&"prod._delay.2".into()));
        assert_eq!(exchange(), Some("prod._delay.1".into()));
        assert!(!router.forget(&"prod.orders".into()), "that is no step");
        assert!(!router.forget(&"prod._delay.1".into()), "there is no other");
        assert_eq!(exchange(), None);
        tokio::time::advance(MISSING).await;
        assert_eq!(exchange(), Some("prod._delay.2".into()));
    }

    #[test]
    fn a_routing_key_stands_for_the_subject_and_the_partition_comes_first() {
        let mut spec = ChannelSpec::queue(name());
        spec.settings = Settings::from_toml("routing_key = 'legacy'").unwrap();
        let key = |spec: &ChannelSpec| {
            let message = Message::new("x").with_subject("order.placed");
            router(spec.clone(), vec![])
                .route(&Send::new(Destination::Channel(name()), message))
                .unwrap()
                .key
        };
        assert_eq!(key(&spec), "legacy".into());
        spec.ordered = true;
        assert_eq!(key(&spec), "0.legacy".into());
    }
}
