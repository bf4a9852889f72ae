//! What a service is told from outside: the file, the environment, and code, layered.
//!
//! A mistake in a configuration must be found before the service runs, and all mistakes at once,
//! each where it was written. So a configuration is first a tree in which every key remembers its
//! file and line, or its environment variable; later layers are laid over earlier ones; then one
//! pass turns the tree into the typed [`Config`] and collects every [`Problem`] on the way.
//!
//! ```
//! use polymq_core::config::Config;
//!
//! let error = Config::builder()
//!     .text("polymq.toml", "[broker]\nurl = 'memory://'\n[channels.emails]\nkin = 'queue'\n")
//!     .build()
//!     .unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "the configuration has 2 problems\n\
//!      polymq.toml:3:11: channels.emails.kind: missing; fix: add kind = \"queue\" or kind = \
//!      \"topic\"\n\
//!      polymq.toml:4:1: channels.emails.kin: unknown key; did you mean `kind`?"
//! );
//! ```

mod broker;
mod builder;
mod channel;
mod consumer;
mod de;
mod env;
mod keys;
mod needs;
mod problem;
mod publish;
mod read;
mod reader;
mod retry;
mod secret;
mod security;
mod setting;
mod settings;
mod topology;
mod tree;
mod units;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use broker::BrokerConfig;
pub use builder::ConfigBuilder;
pub use channel::ChannelConfig;
pub use consumer::{
    AckMode, BatchConfig, BreakerConfig, ConsumerConfig, DedupConfig, ExpiredPolicy, StoreFailure,
    UnknownType,
};
pub use env::MESSAGE_PREFIX;
pub use needs::check_needs;
pub use problem::{ConfigErrors, Origin, Problem};
pub use publish::{PublishConfig, WhenFull};
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use setting::Setting;
pub use settings::Settings;
pub use units::{ByteSize, HumanDuration};

pub(crate) use problem::unknown;

use problem::Origins;

use crate::model::{ChannelName, ConsumerName, Namespace};
use crate::{Error, ErrorKind, Result};

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
    /// Separates environments on one broker; `polymq` unless set.
    pub namespace: Namespace,
    /// What happens to the topology at start.
    pub topology: TopologyPolicy,
    /// Refuses plaintext to another host instead of warning about it.
    pub strict_security: bool,
    /// How long start waits for a broker that is away; 30 s unless set.
    pub connect_timeout: Duration,
    /// How long a drain may take; 30 s unless set.
    pub drain_timeout: Duration,
    /// How publishing behaves.
    pub publish: PublishConfig,
    /// The brokers.
    pub brokers: BTreeMap<String, BrokerConfig>,
    /// The channels, implied dead-letter channels included.
    pub channels: BTreeMap<ChannelName, ChannelConfig>,
    /// The consumers.
    pub consumers: BTreeMap<ConsumerName, ConsumerConfig>,
    /// What is allowed but probably not meant, for the log.
    pub warnings: Vec<Problem>,
    origins: Arc<Origins>,
}

impl Config {
    /// Starts a configuration without any layer.
    #[must_use]
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// The broker of this name.
    ///
    /// # Errors
    /// `NotFound`, listing those that there are.
    pub fn broker(&self, name: &str) -> Result<&BrokerConfig> {
        self.brokers.get(name).ok_or_else(|| no_such("broker", name, self.brokers.keys()))
    }

    /// The channel of this name, also an implied one.
    ///
    /// # Errors
    /// `NotFound`, listing those that there are.
    pub fn channel(&self, name: &str) -> Result<&ChannelConfig> {
        self.channels.get(name).ok_or_else(|| no_such("channel", name, self.channels.keys()))
    }

    /// The consumer of this name.
    ///
    /// # Errors
    /// `NotFound`, listing those that there are.
    pub fn consumer(&self, name: &str) -> Result<&ConsumerConfig> {
        self.consumers.get(name).ok_or_else(|| no_such("consumer", name, self.consumers.keys()))
    }

    /// The brokers that carry a channel, in the order of their names.
    pub fn brokers_in_use(&self) -> impl Iterator<Item = &BrokerConfig> {
        let used = |name: &str| self.channels.values().any(|c| c.broker == name);
        self.brokers.values().filter(move |broker| used(&broker.name))
    }

    /// Where a dotted key, such as `consumers.mailer.retry.delayed`, comes from; of a key that was
    /// not given, where the nearest table around it begins.
    #[must_use]
    pub fn locate(&self, path: &str) -> &Origin {
        self.origins.locate(path)
    }

    /// A problem at a dotted key, for checks that come after the configuration's own.
    #[must_use]
    pub fn problem(
        &self,
        path: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        self.origins.problem(path, message, fix)
    }
}

fn no_such<'a, N: AsRef<str> + 'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a N>,
) -> Error {
    let known: Vec<&str> = known.map(AsRef::as_ref).collect();
    let message = format!("the configuration has no {what} `{name}`");
    let (message, fix) = unknown(&message, name, known.iter().copied());
    let error = Error::new(ErrorKind::NotFound, message);
    if fix.is_empty() { error } else { error.with_help(fix) }
}
