use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{Broker, Topology};
use crate::clock::Clock;
use crate::config::Settings;
use crate::{Error, Result};

/// Secrets that are not part of the URL, read when they are needed and again after a rotation.
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// The password as it is now.
    ///
    /// # Errors
    /// `Config` when the file cannot be read, naming it.
    fn password(&self) -> Result<Option<SecretString>>;
}

/// What an adapter is given to connect.
#[non_exhaustive]
pub struct Connect {
    /// The broker's name in the configuration.
    pub name: String,
    /// One URL, or several of one cluster; they may hold credentials.
    pub urls: Vec<SecretString>,
    /// Secrets from elsewhere.
    pub credentials: Arc<dyn Credentials>,
    /// What the configuration implies on this broker.
    pub topology: Topology,
    /// The adapter's own table: `[broker.ADAPTER]`.
    pub settings: Settings,
    /// Where every stamp and timer comes from.
    pub clock: Arc<dyn Clock>,
    /// When to give up.
    pub deadline: Instant,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("name", &self.name)
            .field("urls", &"[redacted]")
            .field("topology", &self.topology)
            .finish_non_exhaustive()
    }
}

/// Makes brokers of one sort from URLs.
#[async_trait]
pub trait Adapter: fmt::Debug + Send + Sync + 'static {
    /// The adapter's name, which is also that of its configuration tables and cargo feature.
    fn name(&self) -> &'static str;

    /// The URL schemes that it serves.
    fn schemes(&self) -> &'static [&'static str];

    /// Checks the adapter's own `[broker.NAME]` table without connecting.
    ///
    /// # Errors
    /// What is wrong with the table, each problem with its key.
    fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>>;

    /// Checks the adapter's own `[channels.CHANNEL.NAME]` table without connecting.
    ///
    /// # Errors
    /// What is wrong with the table, each problem with its key.
    fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>>;

    /// Connects. Retries until the deadline while the broker is away; wrong credentials fail at
    /// once.
    ///
    /// # Errors
    /// `Disconnected` when the broker could not be reached in time; `Unauthenticated`;
    /// `Config` for a URL that the adapter cannot read.
    async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>>;
}
