use std::time::Duration;

use super::RetryPolicy;
use crate::broker::StartPosition;
use crate::model::{ChannelName, ConsumerName, GroupName, SubjectPattern};

/// When a delivery is acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AckMode {
    /// After it was handled: at least once.
    #[default]
    After,
    /// Before it is handled: at most once. A failure is dead-lettered, never retried.
    Before,
}

/// What happens to a message of a type that no handler is registered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnknownType {
    /// Dead-lettered at once.
    #[default]
    DeadLetter,
    /// Acked and counted.
    Ignore,
    /// A failed attempt: retried, for services that are rolled out one after another.
    Fail,
}

/// What happens to a message past its time-to-live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExpiredPolicy {
    /// Acked and counted.
    #[default]
    Drop,
    /// Dead-lettered.
    DeadLetter,
}

/// What happens when the deduplication store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StoreFailure {
    /// Nothing is handled until the store answers again.
    #[default]
    Pause,
    /// Messages are handled without deduplication, and counted.
    Pass,
}

/// A consumer's `dedup` table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DedupConfig {
    /// The store's name: `memory`, or one that the application registers.
    pub store: String,
    /// How long a handled id is remembered.
    pub window: Duration,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// What happens when the store fails.
    pub on_store_failure: StoreFailure,
}

impl Default for DedupConfig {
    /// The store `memory`, 24 h, leases of 30 s, pausing on failure.
    fn default() -> Self {
        Self {
            store: "memory".to_owned(),
            window: Duration::from_secs(86_400),
            lease: Duration::from_secs(30),
            on_store_failure: StoreFailure::Pause,
        }
    }
}

/// A consumer's `breaker` table: pauses intake while too many attempts fail.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct BreakerConfig {
    /// Opens at this share of failed attempts, above 0 and at most 1.
    pub failure_rate: f64,
    /// Not before this many attempts in the window.
    pub minimum: u32,
    /// The window.
    pub window: Duration,
    /// How long it stays open before one probe is let through.
    pub open: Duration,
}

impl Default for BreakerConfig {
    /// Half of at least 20 attempts in 10 s; open for 30 s.
    fn default() -> Self {
        Self {
            failure_rate: 0.5,
            minimum: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(30),
        }
    }
}

/// A consumer's `batch` table, for batch handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchConfig {
    /// The most messages that a handler gets at once.
    pub max: usize,
    /// The longest that the first of them waits for more.
    pub linger: Duration,
}

impl Default for BatchConfig {
    /// 100 messages, 10 ms.
    fn default() -> Self {
        Self { max: 100, linger: Duration::from_millis(10) }
    }
}

/// A `[consumers.NAME]` table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// The name.
    pub name: ConsumerName,
    /// What it consumes.
    pub channel: ChannelName,
    /// Its group: of a topic, `group` or the consumer's name; of a queue, the queue's name.
    pub group: GroupName,
    /// Of a topic: the subjects that the group wants to see. What none of them takes is acked unseen
    /// and counted. None unless set: all.
    pub subjects: Vec<SubjectPattern>,
    /// The channels that its handlers publish to: none unless set, and never its own.
    pub outputs: Vec<ChannelName>,
    /// How many handlers run at once; 32 unless set.
    pub concurrency: usize,
    /// How many messages are in hand at once: at least `concurrency` and `batch.max`. Unless set,
    /// 256 or twice the concurrency, whichever is more.
    pub prefetch: usize,
    /// How long one attempt may take; 30 s unless set, and at most `max_lease`.
    pub timeout: Duration,
    /// How long a message's lease is extended before it is reported as stuck; 1 h unless set.
    pub max_lease: Duration,
    /// What follows a failure.
    pub retry: RetryPolicy,
    /// Where messages go that cannot be handled: a queue, `NAME-dead` unless set.
    pub dead_letter: ChannelName,
    /// Deduplication, if any.
    pub dedup: Option<DedupConfig>,
    /// The breaker, if any.
    pub breaker: Option<BreakerConfig>,
    /// When deliveries are acked.
    pub ack: AckMode,
    /// What happens to unknown types.
    pub unknown_type: UnknownType,
    /// What happens to expired messages.
    pub expired: ExpiredPolicy,
    /// How often one message may be handed out without an end before it is dead-lettered as a
    /// crash loop; 20 unless set.
    pub max_deliveries: u32,
    /// Where a topic's group starts that the broker does not know yet.
    pub start: StartPosition,
    /// For batch handlers.
    pub batch: BatchConfig,
}

impl ConsumerConfig {
    /// A consumer of `group` on `channel` with every default.
    #[must_use]
    pub fn new(
        name: ConsumerName,
        channel: ChannelName,
        group: GroupName,
        dead_letter: ChannelName,
    ) -> Self {
        Self {
            name,
            channel,
            group,
            dead_letter,
            subjects: Vec::new(),
            outputs: Vec::new(),
            concurrency: 32,
            prefetch: 256,
            timeout: Duration::from_secs(30),
            max_lease: Duration::from_secs(3600),
            retry: RetryPolicy::default(),
            dedup: None,
            breaker: None,
            ack: AckMode::After,
            unknown_type: UnknownType::DeadLetter,
            expired: ExpiredPolicy::Drop,
            max_deliveries: 20,
            start: StartPosition::Latest,
            batch: BatchConfig::default(),
        }
    }
}
