use std::sync::Arc;

use crate::broker::{Adapter, Broker, Connect, Topology};
use crate::clock::Clock;
use crate::config::{BrokerConfig, Config};
use crate::{Error, ErrorKind, Result};

/// One broker of a configuration, connected, with nothing running on it.
///
/// For an operator's tools, which look before anything is created or consumed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connection {
    /// The broker, with its [`admin`](Broker::admin) side.
    pub broker: Arc<dyn Broker>,
    /// What the configuration implies on it.
    pub topology: Topology,
}

/// Connects to one broker within the configuration's `connect_timeout`.
pub(super) async fn connect(
    config: &Config,
    broker: &BrokerConfig,
    adapters: &[Arc<dyn Adapter>],
    clock: &Arc<dyn Clock>,
) -> Result<Connection> {
    let adapter = serving(broker, adapters)?;
    let topology = config.topology_of(&broker.name, adapter.name());
    let deadline = clock.instant() + config.connect_timeout;
    let settings = broker.settings.get(adapter.name()).cloned().unwrap_or_default();
    let request = Connect::new(&broker.name, broker.urls.clone(), topology.clone(), deadline)
        .with_settings(settings)
        .with_credentials(Arc::clone(&broker.credentials))
        .with_clock(Arc::clone(clock));
    let connected = adapter.connect(request).await;
    let broker = connected.map_err(|e| e.with_operation("connect").with_broker(&broker.name))?;
    Ok(Connection { broker, topology })
}

/// The adapter that serves the URLs of a broker.
pub(super) fn serving<'a>(
    broker: &BrokerConfig,
    adapters: &'a [Arc<dyn Adapter>],
) -> Result<&'a Arc<dyn Adapter>> {
    let adapter = adapters.iter().find(|a| a.schemes().contains(&broker.scheme.as_str()));
    adapter.ok_or_else(|| {
        let known: Vec<_> = adapters.iter().flat_map(|a| a.schemes()).copied().collect();
        Error::new(ErrorKind::Config, format!("no adapter serves `{}://`", broker.scheme))
            .with_broker(&broker.name)
            .with_help(format!("compiled in: {}", known.join(", ")))
    })
}
