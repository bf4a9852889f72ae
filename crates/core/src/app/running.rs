use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::DrainReport;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::ConsumerName;
use crate::pipeline::{ConsumerState, Pipeline};
use crate::publish::{Publisher, Pump, PumpTask};
use crate::{Error, ErrorKind, Result};

/// A connected broker and its publishing side.
pub(super) struct Connected {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) pump: Arc<Pump>,
    pub(super) task: PumpTask,
}

/// A started app.
///
/// [`drain`](Running::drain) is the orderly end. Dropping it stops everything where it is, as a
/// crash would: nothing confirmed is lost, and what is unsettled comes again.
pub struct Running {
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) publisher: Publisher,
    // Consumers are dropped before what they publish through.
    pub(super) pipelines: BTreeMap<ConsumerName, Pipeline>,
    pub(super) brokers: BTreeMap<String, Connected>,
    pub(super) _watchers: tokio::task::JoinSet<()>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("consumers", &self.pipelines.keys())
            .field("brokers", &self.brokers.keys())
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Publishes to the channels of the configuration.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The broker that carries a channel: for its [`admin`](Broker::admin) side and its events.
    ///
    /// # Errors
    /// `NotFound` for an unknown channel.
    pub fn broker_of(&self, channel: &str) -> Result<&Arc<dyn Broker>> {
        let unknown = || Error::new(ErrorKind::NotFound, format!("no channel `{channel}`"));
        let channel = self.config.channels.get(channel).ok_or_else(unknown)?;
        self.brokers.get(&channel.broker).map(|c| &c.broker).ok_or_else(unknown)
    }

    /// The consumers that run.
    pub fn consumers(&self) -> impl Iterator<Item = &ConsumerName> {
        self.pipelines.keys()
    }

    fn pipeline(&self, consumer: &str) -> Result<&Pipeline> {
        self.pipelines.get(consumer).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no consumer `{consumer}` runs here"))
        })
    }

    /// How a consumer is doing, and what it has done.
    ///
    /// # Errors
    /// `NotFound` for a consumer that doesn't run here.
    pub fn state(&self, consumer: &str) -> Result<ConsumerState> {
        Ok(self.pipeline(consumer)?.state())
    }

    /// Stops a consumer's intake; what is in hand is finished. Idempotent.
    ///
    /// # Errors
    /// `NotFound` for a consumer that doesn't run here.
    pub fn pause(&self, consumer: &str) -> Result<()> {
        self.pipeline(consumer)?.pause();
        Ok(())
    }

    /// Lets a consumer take messages in again. Idempotent.
    ///
    /// # Errors
    /// `NotFound` for a consumer that doesn't run here.
    pub fn resume(&self, consumer: &str) -> Result<()> {
        self.pipeline(consumer)?.resume();
        Ok(())
    }

    /// Stops intake, gives back what has not been started, finishes what has, flushes outputs and
    /// settlements, and closes, within the configuration's `drain_timeout`.
    pub async fn drain(self) -> DrainReport {
        let deadline = self.clock.instant() + self.config.drain_timeout;
        self.drain_by(deadline).await
    }

    /// [`drain`](Running::drain) with another deadline.
    pub async fn drain_by(self, deadline: Instant) -> DrainReport {
        let Self { pipelines, brokers, _watchers, .. } = self;
        let consumers = join_all(pipelines.into_values().map(|p| p.drain(deadline))).await;
        let errors = join_all(brokers.into_values().map(|c| close(c, deadline))).await;
        DrainReport { consumers, errors: errors.into_iter().flatten().collect() }
    }
}

async fn close(connected: Connected, deadline: Instant) -> Vec<String> {
    let Connected { broker, pump, task } = connected;
    let flushed = pump.close(deadline).await;
    drop(task);
    let closed = broker.close(deadline).await;
    [flushed, closed].into_iter().filter_map(|r| r.err().map(|e| e.to_string())).collect()
}
