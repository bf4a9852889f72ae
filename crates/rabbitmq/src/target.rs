//! Where a connection goes, and how it says who it is.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lapin::auth::AuthProvider;
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use polymq_core::broker::{Connect, Credentials};
use polymq_core::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Auth, BrokerTable};
use crate::dial::dial;
use crate::error;
use crate::version::Version;

/// The hosts of one cluster, with what it takes to get in. Nothing of it is shown: URLs hold passwords.
pub(crate) struct Target {
    broker: String,
    namespace: String,
    urls: Vec<SecretString>,
    credentials: Arc<dyn Credentials>,
    table: BrokerTable,
    /// Which URL comes next: each attempt tries another host.
    next: AtomicUsize,
    version: Mutex<Option<Version>>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// SASL `EXTERNAL`: the client certificate says who we are.
struct External;

impl AuthProvider for External {}

impl Target {
    /// # Errors
    /// `Config` for a URL that cannot be read; it is never quoted.
    pub(crate) fn new(request: &Connect, table: BrokerTable) -> Result<Self> {
        let target = Self {
            broker: request.name.clone(),
            namespace: request.topology.namespace.to_string(),
            urls: request.urls.clone(),
            credentials: Arc::clone(&request.credentials),
            table,
            next: AtomicUsize::new(0),
            version: Mutex::default(),
        };
        if target.urls.is_empty() {
            return Err(error::bad_url("there is no URL"));
        }
        target.urls.iter().try_for_each(|url| parse(url).map(drop))?;
        Ok(target)
    }

    /// The broker's name in the configuration.
    pub(crate) fn broker(&self) -> &str {
        &self.broker
    }

    /// Where the management plugin is.
    #[cfg(feature = "management")]
    pub(crate) fn management(&self) -> Option<&str> {
        self.table.management.as_deref()
    }

    /// What the broker said that it is, at the latest connection.
    pub(crate) fn version(&self) -> Version {
        let heard = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        heard.unwrap_or_else(|| Version::new("RabbitMQ", "of an unknown version"))
    }

    /// `host:port` of every URL, and the virtual host of the first: without credentials.
    pub(crate) fn address(&self) -> String {
        let uris: Vec<AMQPUri> = self.urls.iter().filter_map(|url| parse(url).ok()).collect();
        let hosts: Vec<_> =
            uris.iter().map(|u| format!("{}:{}", u.authority.host, u.authority.port)).collect();
        let vhost = uris.first().map_or("", |uri| uri.vhost.as_str());
        format!("{} virtual host `{vhost}`", hosts.join(", "))
    }

    /// The next host, with the password as it is now.
    pub(crate) fn uri(&self) -> Result<AMQPUri> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut uri = parse(&self.urls[turn % self.urls.len()])?;
        if let Some(password) = self.credentials.password()? {
            uri.authority.userinfo.password = password.expose_secret().to_owned();
        }
        uri.query.heartbeat.get_or_insert(self.table.heartbeat_seconds());
        Ok(uri)
    }

    /// Who signs the broker's certificates, beside the system's roots.
    pub(crate) fn ca_file(&self) -> Result<Option<Vec<u8>>> {
        self.table.ca_file.as_deref().map(|path| read("ca_file", path)).transpose()
    }

    /// Certificates as they are on disk now: a rotated one is used from the next connection on.
    pub(crate) fn tls(&self) -> Result<OwnedTLSConfig> {
        let identity = match (&self.table.cert_file, &self.table.key_file) {
            (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
                pem: read("cert_file", cert)?,
                key: read("key_file", key)?,
            }),
            _ => None,
        };
        let ca = self.ca_file()?;
        let cert_chain = ca.map(|pem| String::from_utf8_lossy(&pem).into_owned());
        Ok(OwnedTLSConfig { identity, cert_chain })
    }

    /// One attempt at one host. `purpose` is what the broker's own list of connections shows.
    pub(crate) async fn connect(&self, purpose: &str) -> Result<Connection> {
        let name = format!("polymq {} {purpose}", self.namespace);
        let mut properties =
            ConnectionProperties::default().with_connection_name(name.into_bytes().into());
        if self.table.auth == Auth::External {
            properties = properties.with_auth_provider(External);
        }
        let (connection, version) = dial(self.uri()?, properties, self.tls()?)
            .await
            .map_err(|e| error::connecting(&e).with_context("address", self.address()))?;
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
        Ok(connection)
    }
}

/// Reads a URL without ever quoting it.
fn parse(url: &SecretString) -> Result<AMQPUri> {
    url.expose_secret().parse().map_err(|_| error::bad_url("the URL cannot be read"))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| {
        Error::new(ErrorKind::Config, format!("cannot read `{key}` {}", path.display()))
            .with_help("create the file, or correct the key in [broker.rabbitmq]")
            .with_source(source)
    })
}
