use std::panic::Location;
use std::time::Duration;

use polymq_core::broker::Destination;
use polymq_core::config::ConsumerConfig;
use polymq_core::model::hop;
use polymq_core::{DrainReport, Message, Payload, Publisher, Running, Timestamp};

use super::attempts::Attempts;
use super::idle::idle_in;
use super::published::describe;
use super::{Count, DeadLetter, DeadLetters, Published, TestBroker};
use crate::faults::{Faults, SendRecord};

/// A service that runs under test.
///
/// Everything that it publishes goes through a recorder, so that the test can ask for it, and
/// through [`Faults`], so that the test can make it fail. Dropping it ends the service as a crash
/// would; [`drain`](Self::drain) ends it in order.
///
/// Methods that check something, and those that fail, panic with a text for the reader: what was
/// expected, and what was there.
#[derive(Debug)]
pub struct TestApp {
    running: Running,
    broker: TestBroker,
    faults: Faults,
    attempts: Attempts,
}

impl TestApp {
    pub(super) fn new(
        running: Running,
        broker: TestBroker,
        faults: Faults,
        attempts: Attempts,
    ) -> Self {
        Self { running, broker, faults, attempts }
    }

    /// The service: for its state, its configuration, its brokers.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The hand on broker and stores: makes them fail, says what was sent.
    ///
    /// ```
    /// # use polymq_core::config::Config;
    /// # use polymq_core::{Context, HandlerError, Message, Service};
    /// use std::time::Duration;
    /// use polymq_core::{ErrorKind, broker::Destination};
    /// use polymq_testkit::faults::PublishFault;
    ///
    /// # async fn fail(_: Message, _: Context<()>) -> Result<(), HandlerError> {
    /// #     Err(HandlerError::from("no").permanent())
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let config = Config::builder().text("polymq.toml", "[broker]\nurl = 'memory://'\n\
    /// #     [channels.lines]\nkind = 'queue'\n[consumers.printer]\nchannel = 'lines'");
    /// # let t = polymq_testkit::start(config, Service::new(()).on("printer", fail)).await;
    /// let is_dead = |s: &polymq_core::broker::Send| matches!(s.destination, Destination::DeadLetter(_));
    /// let away = t.faults().fail_publish(is_dead, PublishFault::Rejected(ErrorKind::Disconnected));
    /// t.publish_message("lines", Message::new("x")).await;
    /// t.advance(Duration::from_secs(3600)).await;
    /// t.dead_letters("printer").none();               // it waits, unsettled
    /// away.end();
    /// t.idle().await;
    /// t.dead_letters("printer").count(1);
    /// # }
    /// ```
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The service's publisher, for publishes that are expected to fail.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.running.publisher()
    }

    /// Publishes a typed payload.
    ///
    /// # Panics
    /// When it is not confirmed, with the error.
    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "a test has no use for the payload")]
    pub fn publish<P: Payload>(&self, channel: &str, payload: P) -> impl Future<Output = ()> {
        let caller = Location::caller();
        let message = Message::of(&payload);
        async move {
            let message = message.unwrap_or_else(|error| panic!("{caller}: {error:?}"));
            self.publish_at(caller, channel, message).await;
        }
    }

    /// Publishes a message.
    ///
    /// # Panics
    /// When it is not confirmed, with the error.
    #[track_caller]
    pub fn publish_message(&self, channel: &str, message: Message) -> impl Future<Output = ()> {
        self.publish_at(Location::caller(), channel, message)
    }

    async fn publish_at(&self, caller: &Location<'_>, channel: &str, message: Message) {
        let published = self.running.publisher().publish_message(channel, message).await;
        published.unwrap_or_else(|error| panic!("{caller}: {error}"));
    }

    /// Waits until nothing is left to do: everything that the service consumes is handled,
    /// dead-lettered or dropped. In virtual time delays are skipped; on a real broker they pass.
    ///
    /// # Panics
    /// After 30 days of virtual time, or a real minute, with what is left where.
    #[track_caller]
    pub fn idle(&self) -> impl Future<Output = ()> {
        self.idle_at(Location::caller(), self.broker.place.patience())
    }

    /// [`idle`](Self::idle) with another limit.
    ///
    /// # Panics
    /// After `limit`, with what is left where.
    #[track_caller]
    pub fn idle_within(&self, limit: Duration) -> impl Future<Output = ()> {
        self.idle_at(Location::caller(), limit)
    }

    async fn idle_at(&self, caller: &Location<'_>, limit: Duration) {
        if let Err(busy) = idle_in(&self.running, Some(&self.broker.place), limit).await {
            panic!("{caller}: not idle after {limit:?}:\n{busy}");
        }
    }

    /// The wall clock of the service.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.broker.clock.now()
    }

    /// Lets time pass; what is due meanwhile happens, each at its time.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Ends the service in order.
    pub async fn drain(self) -> DrainReport {
        self.running.drain().await
    }

    #[track_caller]
    fn consumer(&self, name: &str) -> &ConsumerConfig {
        let runs = self.running.consumers().any(|consumer| consumer.as_str() == name);
        match self.running.config().consumers.get(name).filter(|_| runs) {
            Some(consumer) => consumer,
            None => {
                let known: Vec<_> = self.running.consumers().map(|c| format!("`{c}`")).collect();
                panic!("no consumer `{name}` runs; those that do: [{}]", known.join(", "))
            }
        }
    }

    /// How often a consumer's handlers ran: one for each message and try, those within the process
    /// included.
    ///
    /// # Panics
    /// When no such consumer runs.
    #[must_use]
    #[track_caller]
    pub fn attempts(&self, consumer: &str) -> Count {
        let seen = self.attempts.of(self.consumer(consumer).name.as_str());
        Count::new(format!("attempts of consumer `{consumer}`"), seen.len() as u64, seen)
    }

    /// How many messages a consumer has handled and acked.
    ///
    /// # Panics
    /// When no such consumer runs.
    #[must_use]
    #[track_caller]
    pub fn handled(&self, consumer: &str) -> Count {
        let name = self.consumer(consumer).name.as_str();
        let handled = self.running.state(name).map_or(0, |state| state.tally.handled);
        let what = format!("messages handled by consumer `{consumer}`");
        Count::new(what, handled, self.attempts.of(name))
    }

    /// Confirmed sends, in order.
    fn confirmed(&self) -> impl Iterator<Item = SendRecord> {
        self.faults.sends().into_iter().filter(|send| send.outcome.is_confirmed())
    }

    #[track_caller]
    fn on_channel(&self, channel: &str) -> impl Iterator<Item = Message> {
        let channels = &self.running.config().channels;
        let Some((channel, _)) = channels.get_key_value(channel) else {
            let known: Vec<_> = channels.keys().map(|c| format!("`{c}`")).collect();
            panic!("no channel `{channel}`; there are: [{}]", known.join(", "))
        };
        let channel = channel.clone();
        self.confirmed()
            .filter(move |send| is_publish_to(send, channel.as_str()))
            .map(|s| s.message)
    }

    /// What was published to a channel and confirmed, by the service or by the test, as this type.
    ///
    /// # Panics
    /// For an unknown channel; for a message of the type that cannot be decoded.
    #[must_use]
    #[track_caller]
    pub fn published<P: Payload>(&self, channel: &str) -> Published<P> {
        let (mut items, mut others) = (Vec::new(), Vec::new());
        for message in self.on_channel(channel) {
            if message.message_type() != Some(P::TYPE) {
                others.push(describe(&message));
                continue;
            }
            let bytes = message.payload().cloned().unwrap_or_default();
            match P::decode(&bytes) {
                Ok(item) => items.push((message, item)),
                Err(error) => panic!("channel `{channel}`: {error:?}\n  {}", describe(&message)),
            }
        }
        Published::new(format!("`{}` published to channel `{channel}`", P::TYPE), items, others)
    }

    /// What was published to a channel and confirmed, of every type.
    ///
    /// # Panics
    /// For an unknown channel.
    #[must_use]
    #[track_caller]
    pub fn messages(&self, channel: &str) -> Published<Message> {
        let items = self.on_channel(channel).map(|message| (message.clone(), message)).collect();
        Published::new(format!("messages published to channel `{channel}`"), items, Vec::new())
    }

    /// What a consumer gave up.
    ///
    /// # Panics
    /// When no such consumer runs.
    #[must_use]
    #[track_caller]
    pub fn dead_letters(&self, consumer: &str) -> DeadLetters {
        let ConsumerConfig { dead_letter, group, channel, .. } = self.consumer(consumer);
        let is_own = |send: &SendRecord| {
            let headers = send.message.headers();
            matches!(&send.destination, Destination::DeadLetter(to) if to == dead_letter)
                && headers.get_str(hop::DEAD_LETTER_CHANNEL) == Some(channel.as_str())
                && headers.get_str(hop::DEAD_LETTER_GROUP) == Some(group.as_str())
        };
        let letters = self.confirmed().filter(is_own).map(|send| DeadLetter::new(send.message));
        DeadLetters::new(format!("dead letters of consumer `{consumer}`"), letters.collect())
    }
}

/// Whether this is a publish to the channel, scheduled ones included, and no retry.
fn is_publish_to(send: &SendRecord, name: &str) -> bool {
    match &send.destination {
        Destination::Channel(channel) => channel.as_str() == name,
        Destination::RetryInbox { channel, .. } => {
            channel.as_str() == name && send.message.headers().get(hop::ATTEMPT).is_none()
        }
        _ => false,
    }
}
