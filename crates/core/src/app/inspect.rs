//! What an app can tell without running: for an operator's tools.

use std::path::Path;

use super::App;
use super::connection::{Connection, connect, serving};
use crate::broker::ChannelFacts;
use crate::config::{Config, ConfigErrors};
use crate::explain::{Explanation, capability_table, explain};
use crate::{Error, ErrorKind, Result};

impl App {
    /// [`load`](App::load), with the problems as data.
    ///
    /// # Errors
    /// Every problem, in the order in which a reader meets them.
    pub fn check(&self, path: impl AsRef<Path>) -> Result<Config, ConfigErrors> {
        self.layers(path).check()
    }

    /// Connects to one broker of the configuration and does nothing there: nothing is checked,
    /// created or consumed. The caller closes it.
    ///
    /// # Errors
    /// `NotFound` for a broker that the configuration doesn't have; `Config` when no adapter serves
    /// it; the broker's own errors after `connect_timeout` at the latest.
    pub async fn connect(&self, config: &Config, broker: &str) -> Result<Connection> {
        connect(config, config.broker(broker)?, &self.adapters, &self.clock).await
    }

    /// What becomes of a channel on its broker, as far as it can be told without a connection:
    /// of this `version`, or of the newest one that the adapter knows.
    ///
    /// # Errors
    /// `NotFound` for an unknown channel; the adapter's own.
    pub fn describe(
        &self,
        config: &Config,
        channel: &str,
        version: Option<&str>,
    ) -> Result<ChannelFacts> {
        let channel = config.channel(channel)?;
        let broker = config.broker(&channel.broker)?;
        let adapter = serving(broker, &self.adapters)?;
        let topology = config.topology_of(&broker.name, adapter.name());
        let settings = broker.settings.get(adapter.name()).cloned().unwrap_or_default();
        let version = version.or_else(|| adapter.versions().first().copied()).unwrap_or_default();
        let spec = topology.channel(channel.name.as_str()).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no channel `{}`", channel.name))
        })?;
        adapter.describe(version, &settings, &topology, spec)
    }

    /// Explains a channel or a consumer, on a broker of this `version`, or of the newest one that
    /// the adapter knows.
    ///
    /// # Errors
    /// `NotFound` for a name that is neither; the adapter's own.
    pub fn explain(
        &self,
        config: &Config,
        name: &str,
        version: Option<&str>,
    ) -> Result<Explanation> {
        let consumer = config.consumers.get(name);
        let channel = consumer.map_or(name, |consumer| consumer.channel.as_str());
        explain(config, name, &self.describe(config, channel, version)?)
    }

    /// What each adapter of this app can do at each of its versions, as the table of the
    /// documentation.
    ///
    /// # Errors
    /// The adapters' own.
    pub fn capability_table(&self) -> Result<String> {
        capability_table(&self.adapters)
    }
}
