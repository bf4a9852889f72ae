use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use polymq_core::broker::{Adapter, Credentials};
use polymq_core::config::{Config, TopologyPolicy};
use polymq_core::dedup::{DedupStore, MemoryDedupStore};
use polymq_core::memory::{MemoryOptions, MemoryServer};
use polymq_core::{Clock, Result, VirtualClock};
use secrecy::SecretString;

use super::place::Place;
use super::time;

/// A broker for tests, with the deduplication stores and the clock that belong to it: all that
/// outlives a process.
///
/// Cloning gives another handle to the same. Two apps that are started on one broker, one after
/// the other or side by side, meet on the same messages.
#[derive(Debug, Clone)]
pub struct TestBroker {
    pub(super) adapter: Arc<dyn Adapter>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) place: Place,
    url: String,
    stores: Arc<Mutex<BTreeMap<String, Arc<dyn DedupStore>>>>,
}

/// A memory broker of the test's own, in virtual time.
///
/// # Panics
/// Outside a tokio runtime of the flavour `current_thread`: only there is time virtual.
#[must_use]
#[track_caller]
pub fn memory() -> TestBroker {
    TestBroker::memory(MemoryOptions::default())
}

impl TestBroker {
    /// A memory broker as poor or as small as the test wants it.
    ///
    /// # Panics
    /// As [`memory`].
    #[must_use]
    #[track_caller]
    pub fn memory(options: MemoryOptions) -> Self {
        time::make_virtual(Location::caller());
        let server = MemoryServer::new(options);
        Self {
            adapter: Arc::new(server.adapter()),
            clock: Arc::new(VirtualClock::default()),
            place: Place::Memory(server),
            url: "memory://".to_owned(),
            stores: Arc::default(),
        }
    }

    /// A RabbitMQ, in real time: one virtual host is the whole broker.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn rabbitmq(vhost: crate::containers::Vhost) -> Self {
        Self {
            adapter: Arc::new(polymq_rabbitmq::adapter()),
            clock: Arc::new(polymq_core::SystemClock),
            url: vhost.url().to_owned(),
            place: Place::Vhost(Arc::new(vhost)),
            stores: Arc::default(),
        }
    }

    /// A Kafka, in real time: what it has is the namespace's.
    #[cfg(feature = "kafka")]
    pub(crate) fn kafka(namespace: crate::containers::KafkaNamespace) -> Self {
        Self {
            adapter: Arc::new(polymq_kafka::adapter()),
            clock: Arc::new(polymq_core::SystemClock),
            url: namespace.url(),
            place: Place::Namespace(Arc::new(namespace)),
            stores: Arc::default(),
        }
    }

    /// Replaces every broker of the configuration by this one. It is empty and has no nodes to copy
    /// to: how the configured one is reached, and what is there already, says nothing of it.
    pub(super) fn carry(&self, config: &mut Config) {
        config.topology = TopologyPolicy::CreateMissing;
        self.place.carry(config);
        for broker in config.brokers.values_mut() {
            broker.settings.remove(self.adapter.name());
            broker.credentials = Arc::new(InTheUrl);
            broker.urls = vec![self.url.clone().into()];
            broker.scheme = self.adapter.schemes().first().copied().unwrap_or_default().to_owned();
        }
        for channel in config.channels.values_mut() {
            channel.replicas = None;
            channel.settings.remove(self.adapter.name());
        }
    }

    /// The store of this name: one in memory, made when it is first asked for.
    pub(super) fn store(&self, name: &str) -> Arc<dyn DedupStore> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(MemoryDedupStore::new(Arc::clone(&self.clock))) as Arc<_>;
        Arc::clone(stores.entry(name.to_owned()).or_insert_with(make))
    }
}

/// The test broker's URL has all its credentials.
#[derive(Debug)]
struct InTheUrl;

impl Credentials for InTheUrl {
    fn password(&self) -> Result<Option<SecretString>> {
        Ok(None)
    }
}
