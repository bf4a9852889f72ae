use std::time::Duration;

use polymq_core::Result;
use polymq_core::config::Config;
use polymq_core::memory::MemoryServer;

/// How long to wait before looking again, and how often nothing is to be seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The pause at first; it doubles.
    pub(super) first: Duration,
    /// The longest pause.
    pub(super) longest: Duration,
    /// How often in a row nothing must be left: a message on its way is in no place at all.
    pub(super) looks: u32,
}

impl Pace {
    /// In virtual time, where nothing is on its way while somebody looks.
    pub(super) const VIRTUAL: Self =
        Self { first: Duration::from_millis(1), longest: Duration::from_secs(1), looks: 1 };
    #[cfg(feature = "containers")]
    const REAL: Self =
        Self { first: Duration::from_millis(20), longest: Duration::from_millis(200), looks: 2 };
}

/// Where a test broker keeps its messages, and what can be asked there beside what every broker
/// tells.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A server in this process, in virtual time.
    Memory(MemoryServer),
    /// A virtual host, in real time.
    #[cfg(feature = "rabbitmq")]
    Vhost(std::sync::Arc<crate::containers::Vhost>),
    /// A namespace on a Kafka, in real time.
    #[cfg(feature = "kafka")]
    Namespace(std::sync::Arc<crate::containers::KafkaNamespace>),
}

impl Place {
    pub(super) fn pace(&self) -> Pace {
        match self {
            Self::Memory(_) => Pace::VIRTUAL,
            #[cfg(feature = "containers")]
            _ => Pace::REAL,
        }
    }

    /// Gives the configuration the namespace that this is, where it is one.
    #[allow(unused_variables, reason = "used where a feature brings such a place")]
    pub(super) fn carry(&self, config: &mut Config) {
        #[cfg(feature = "kafka")]
        if let Self::Namespace(namespace) = self {
            config.namespace = namespace.name().clone();
        }
    }

    /// How long waiting for idleness goes on: longer than any test's retries should take.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::from_secs(30 * 86_400),
            #[cfg(feature = "containers")]
            _ => Duration::from_secs(60),
        }
    }

    /// Who tells of changes.
    pub(super) fn server(&self) -> Option<&MemoryServer> {
        match self {
            Self::Memory(server) => Some(server),
            #[cfg(feature = "containers")]
            _ => None,
        }
    }

    /// Messages that wait for their time where no depth counts them.
    #[allow(clippy::unused_async, reason = "awaits where a feature brings a real broker")]
    pub(super) async fn delayed(&self) -> Result<u64> {
        match self {
            Self::Memory(_) => Ok(0),
            #[cfg(feature = "rabbitmq")]
            Self::Vhost(vhost) => vhost.delayed().await,
            // A retry inbox counts what waits in it.
            #[cfg(feature = "kafka")]
            Self::Namespace(_) => Ok(0),
        }
    }
}
