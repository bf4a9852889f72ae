use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use super::Settings;
use crate::broker::Credentials;

/// The `[broker]` table, or one of `[brokers.NAME]`.
#[derive(Clone)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// The name: `default` for `[broker]`.
    pub name: String,
    /// One URL, or several of one cluster, all of one scheme.
    pub urls: Vec<SecretString>,
    /// The scheme of the URLs.
    pub scheme: String,
    /// Secrets from elsewhere.
    pub credentials: Arc<dyn Credentials>,
    /// The adapters' own tables, by adapter.
    pub settings: BTreeMap<String, Settings>,
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("name", &self.name)
            .field("scheme", &self.scheme)
            .field("urls", &"[redacted]")
            .finish_non_exhaustive()
    }
}
