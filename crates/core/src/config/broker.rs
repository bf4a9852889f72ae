use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Settings;
use super::secret::Address;
use crate::broker::Credentials;

/// The `[broker]` table, or one of `[brokers.NAME]`.
#[derive(Clone)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// The name: `default` for `[broker]`.
    pub name: String,
    /// One URL, or several of one cluster, all of one scheme; a configured `username` is in them.
    pub urls: Vec<SecretString>,
    /// The scheme of the URLs.
    pub scheme: String,
    /// `password`, or `password_file`, which is read again each time.
    pub credentials: Arc<dyn Credentials>,
    /// The adapters' own tables, by adapter.
    pub settings: BTreeMap<String, Settings>,
}

impl BrokerConfig {
    /// Scheme, host and port of each URL: what logs may show.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let urls = self.urls.iter();
        let parsed = urls.filter_map(|url| Url::parse(url.expose_secret()).ok());
        parsed.map(|url| Address(&url).to_string()).collect()
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("name", &self.name)
            .field("scheme", &self.scheme)
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}
