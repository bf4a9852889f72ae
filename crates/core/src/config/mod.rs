//! What a service is told from outside: the file, the environment, and code, layered.

mod broker;
mod channel;
mod consumer;
mod publish;
mod retry;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

pub use broker::BrokerConfig;
pub use channel::ChannelConfig;
pub use consumer::{
    AckMode, BatchConfig, BreakerConfig, ConsumerConfig, DedupConfig, ExpiredPolicy, StoreFailure,
    UnknownType,
};
pub use publish::{PublishConfig, WhenFull};
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use settings::{ByteSize, HumanDuration, Settings};

use crate::model::{ChannelName, ConsumerName, Namespace};

/// What the service does about its topology at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TopologyPolicy {
    /// Creates what is missing; refuses to start on a difference.
    #[default]
    CreateMissing,
    /// Refuses to start when anything is missing or differs. Needs read rights only.
    Check,
    /// Doesn't look.
    Off,
}

/// Everything that a service is told, checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Separates environments on one broker.
    pub namespace: Namespace,
    /// What happens to the topology at start.
    pub topology: TopologyPolicy,
    /// Refuses plaintext to another host instead of warning about it.
    pub strict_security: bool,
    /// How long start waits for a broker that is away.
    pub connect_timeout: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// How publishing behaves.
    pub publish: PublishConfig,
    /// The brokers.
    pub brokers: BTreeMap<String, BrokerConfig>,
    /// The channels, implied dead-letter channels included.
    pub channels: BTreeMap<ChannelName, ChannelConfig>,
    /// The consumers.
    pub consumers: BTreeMap<ConsumerName, ConsumerConfig>,
}
