use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::time::Instant;

use super::{Broker, ChannelFacts, ChannelSpec, Topology};
use crate::clock::{Clock, system_clock};
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

/// No secrets but those in the URL.
#[derive(Debug, Clone, Copy, Default)]
struct NoCredentials;

impl Credentials for NoCredentials {
    fn password(&self) -> Result<Option<SecretString>> {
        Ok(None)
    }
}

impl Connect {
    /// A request without settings or credentials of its own, on the system's clock.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        urls: Vec<SecretString>,
        topology: Topology,
        deadline: Instant,
    ) -> Self {
        Self {
            name: name.into(),
            urls,
            credentials: Arc::new(NoCredentials),
            topology,
            settings: Settings::default(),
            clock: system_clock(),
            deadline,
        }
    }

    /// Sets the adapter's own table.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets where secrets come from.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
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
    /// Everything that is wrong. An error made by [`Settings::parse`] knows its place in the file.
    fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>>;

    /// Checks the adapter's own `[channels.CHANNEL.NAME]` table without connecting. What only the
    /// whole topology shows, such as two channels bound to one object, is refused by
    /// [`connect`](Adapter::connect).
    ///
    /// # Errors
    /// Everything that is wrong. An error made by [`Settings::parse`] knows its place in the file.
    fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>>;

    /// The versions between which the facts differ, newest first: the documentation has a column for
    /// each.
    fn versions(&self) -> &'static [&'static str];

    /// What becomes of a channel of `topology` on a broker of this version: what
    /// [`capabilities`](Broker::capabilities) and [`plan`](super::Admin::plan) would say, as far as
    /// it can be told without a connection. `version` is one of [`versions`](Adapter::versions), or
    /// what a running broker calls itself; `settings` is the adapter's own `[broker.NAME]` table.
    ///
    /// # Errors
    /// `Config` for tables that the adapter cannot read, or physical names that clash.
    fn describe(
        &self,
        version: &str,
        settings: &Settings,
        topology: &Topology,
        channel: &ChannelSpec,
    ) -> Result<ChannelFacts>;

    /// Connects. Retries until the deadline while the broker is away; wrong credentials fail at
    /// once.
    ///
    /// # Errors
    /// `Disconnected` when the broker could not be reached in time; `Unauthenticated`;
    /// `Config` for a URL that the adapter cannot read, or physical names that clash.
    async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>>;
}
