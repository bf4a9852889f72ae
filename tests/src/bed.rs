//! A place to run services in: one embedded broker and one virtual clock, which outlive every service
//! that is started, stopped or crashed on them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test bed fails by panicking")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polymq_core::broker::{Capability, Peeked, Source, StartPosition};
use polymq_core::config::Config;
use polymq_core::dedup::{DedupStore, MemoryDedupStore};
use polymq_core::memory::{MemoryOptions, MemoryServer};
use polymq_core::{
    App, ChannelName, Clock, GroupName, Message, Payload, Result, Running, Service, Timestamp,
    VirtualClock,
};
use polymq_testkit::faults::{Faults, FaultyAdapter, FaultyStore};
use serde::{Deserialize, Serialize};

/// The configuration that most tests extend: what is appended belongs to `[consumers.mailer]`
/// until another table begins.
pub const MAILER: &str = r#"
[broker]
url = "memory://"
[channels.orders]
kind = "queue"
[channels.receipts]
kind = "queue"
[consumers.mailer]
channel = "orders"
outputs = ["receipts"]
"#;

/// [`MAILER`], with more lines for its consumer.
#[must_use]
pub fn mailer(more: &str) -> String {
    format!("{MAILER}{more}\n")
}

/// [`MAILER`] on an ordered channel, with more lines for its consumer.
#[must_use]
pub fn ordered_mailer(more: &str) -> String {
    mailer(more).replacen("kind = \"queue\"", "kind = \"queue\"\norder_by = \"key\"", 1)
}

/// An application's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which one.
    pub n: u32,
    /// The message's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An order without a key.
#[must_use]
pub fn order(n: u32) -> Order {
    Order { n, key: None }
}

/// An order with a key.
#[must_use]
pub fn keyed(key: impl std::fmt::Display, n: u32) -> Order {
    Order { n, key: Some(key.to_string()) }
}

impl Payload for Order {
    const TYPE: &'static str = "order";

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref().map(str::as_bytes)
    }
}

/// What a handler publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of which order.
    pub n: u32,
}

impl Payload for Receipt {
    const TYPE: &'static str = "receipt";
}

/// What happened, in order, as seen from several tasks.
#[derive(Debug)]
pub struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Log<T> {
    /// Adds an entry and says how many there are now.
    pub fn push(&self, entry: T) -> usize {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
        entries.len()
    }

    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The longest that [`until`] waits, in virtual time.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Waits, in steps of 5 virtual ms, until something holds.
///
/// # Panics
/// When it doesn't within half an hour of virtual time.
pub async fn until<D: Debug>(what: &str, state: impl Fn() -> D, holds: impl Fn(&D) -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = state();
        if holds(&now) {
            return;
        }
        assert!(tokio::time::Instant::now() <= end, "never {what}: {now:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lets everything happen that happens within this time.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Lets this many seconds pass.
pub async fn seconds(n: u64) {
    pass(Duration::from_secs(n)).await;
}

/// A broker, a clock, and a hand on what goes wrong between them and the service.
#[derive(Debug, Clone)]
pub struct Bed {
    /// The broker behind every service.
    pub server: MemoryServer,
    /// Makes the broker misbehave.
    pub faults: Faults,
    /// The clock of every service.
    pub clock: Arc<VirtualClock>,
}

impl Default for Bed {
    /// A bed whose broker publishes and acks in two steps, as most do.
    fn default() -> Self {
        Self::with(MemoryOptions::default().without(Capability::Atomic))
    }
}

impl Bed {
    /// A bed whose broker has these options.
    #[must_use]
    pub fn with(options: MemoryOptions) -> Self {
        Self {
            server: MemoryServer::new(options),
            faults: Faults::new(),
            clock: Arc::new(VirtualClock::default()),
        }
    }

    /// A bed whose broker sends and acks both or not at all.
    #[must_use]
    pub fn atomic() -> Self {
        Self::with(MemoryOptions::default())
    }

    /// The same broker and clock, for a process that is not affected by the faults of this one.
    #[must_use]
    pub fn another_process(&self) -> Self {
        Self { faults: Faults::new(), ..self.clone() }
    }

    /// A deduplication store that outlives services, fails as [`faults`](Self::faults) say, and
    /// is to be registered under a name of its own.
    #[must_use]
    pub fn store(&self, inner: &Arc<MemoryDedupStore>) -> Arc<dyn DedupStore> {
        let inner = Arc::clone(inner) as Arc<dyn DedupStore>;
        Arc::new(FaultyStore::new(inner, self.faults.clone()))
    }

    /// An empty store on the bed's clock.
    #[must_use]
    pub fn empty_store(&self) -> Arc<MemoryDedupStore> {
        Arc::new(MemoryDedupStore::new(Arc::clone(&self.clock) as Arc<dyn Clock>))
    }

    /// An app on the bed's broker and clock.
    #[must_use]
    pub fn app(&self) -> App {
        let inner = Arc::new(self.server.adapter());
        App::with(FaultyAdapter::with(inner, self.faults.clone()))
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    /// What the clock says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Reads a configuration for the memory broker.
    #[must_use]
    pub fn config(&self, text: &str) -> Config {
        let builder = Config::builder().text("polymq.toml", text);
        let built = builder.adapters(&[Arc::new(self.server.adapter())]).build();
        built.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts a service.
    pub async fn start<S>(&self, config: &str, service: Service<S>) -> Running
    where
        S: Send + Sync + 'static,
    {
        let started = self.try_start(config, service).await;
        started.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts a service that may be refused.
    ///
    /// # Errors
    /// Whatever the start fails with.
    pub async fn try_start<S>(&self, config: &str, service: Service<S>) -> Result<Running>
    where
        S: Send + Sync + 'static,
    {
        self.app().serve(service).start(self.config(config)).await
    }

    /// Starts a service with a store called `shared`.
    pub async fn start_with<S>(
        &self,
        store: &Arc<MemoryDedupStore>,
        config: &str,
        service: Service<S>,
    ) -> Running
    where
        S: Send + Sync + 'static,
    {
        let app = self.app().serve(service).dedup_store("shared", self.store(store));
        app.start(self.config(config)).await.unwrap_or_else(|e| panic!("{e}"))
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap_or_else(|e| panic!("{e}"))
}

/// What lies in a source.
pub async fn peek(running: &Running, channel: &str, source: Source) -> Vec<Peeked> {
    let broker = running.broker_of(channel).unwrap_or_else(|e| panic!("{e}"));
    let browse = broker.admin().browse(&source, StartPosition::Earliest).await;
    let mut browse = browse.unwrap_or_else(|e| panic!("{e}"));
    browse.next(10_000).await.unwrap_or_else(|e| panic!("{e}"))
}

fn messages(peeked: Vec<Peeked>) -> Vec<Message> {
    peeked.into_iter().map(|p| p.message).collect()
}

/// The dead letters in a channel.
pub async fn dead_letters(running: &Running, name: &str) -> Vec<Message> {
    messages(peek(running, name, Source::DeadLetter(channel(name))).await)
}

/// What nobody has handled yet on a queue.
pub async fn queued(running: &Running, name: &str) -> Vec<Message> {
    let group = GroupName::from(&channel(name));
    messages(peek(running, name, Source::Group { channel: channel(name), group }).await)
}

/// What waits in the retry inbox of a queue.
pub async fn delayed(running: &Running, name: &str) -> Vec<Peeked> {
    let group = GroupName::from(&channel(name));
    peek(running, name, Source::RetryInbox { channel: channel(name), group }).await
}

/// How many messages a queue and its retry inbox hold, in flight included.
pub async fn depth(running: &Running, name: &str) -> u64 {
    let broker = running.broker_of(name).unwrap_or_else(|e| panic!("{e}"));
    let group = GroupName::from(&channel(name));
    let mut total = 0;
    for source in [
        Source::Group { channel: channel(name), group: group.clone() },
        Source::RetryInbox { channel: channel(name), group },
    ] {
        let depth = broker.admin().depth(&source).await;
        total += depth.unwrap_or_else(|e| panic!("{e}")).total();
    }
    total
}

/// A header of polymq's own, as text; empty if it isn't there.
#[must_use]
pub fn hop<'a>(message: &'a Message, name: &str) -> &'a str {
    message.headers().get_str(name).unwrap_or_default()
}

/// A header of polymq's own, as a number.
///
/// # Panics
/// When it is absent or no number.
#[must_use]
pub fn hop_number(message: &Message, name: &str) -> u64 {
    hop(message, name).parse().unwrap_or_else(|_| panic!("{name} in {:?}", message.headers()))
}

/// The tally of a consumer.
#[must_use]
pub fn tally(running: &Running, consumer: &str) -> polymq_core::pipeline::Tally {
    running.state(consumer).unwrap_or_else(|e| panic!("{e}")).tally
}

/// Waits until a consumer's state says so.
pub async fn until_state(
    running: &Running,
    consumer: &str,
    what: &str,
    holds: impl Fn(&polymq_core::pipeline::ConsumerState) -> bool,
) {
    let state = || running.state(consumer).unwrap_or_else(|e| panic!("{e}"));
    until(what, state, holds).await;
}

/// Waits until a consumer has handled this many messages.
pub async fn until_handled(running: &Running, consumer: &str, count: u64) {
    until_state(running, consumer, "handled", |s| s.tally.handled >= count).await;
}

/// Waits until a consumer has dead-lettered this many messages.
pub async fn until_dead(running: &Running, consumer: &str, count: u64) {
    until_state(running, consumer, "dead-lettered", |s| s.tally.dead_letters() >= count).await;
}
