//! Where a client connects to, and how it says who it is.

use std::sync::Arc;

use polymq_core::broker::{Connect, Credentials};
use polymq_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::config::BrokerTable;
use crate::error;

/// A URL without TLS.
pub(crate) const PLAIN: &str = "kafka";

/// A URL with TLS.
pub(crate) const TLS: &str = "kafka+ssl";

/// The brokers of one cluster, with what it takes to get in. Nothing of it is shown: URLs hold passwords.
pub(crate) struct Target {
    broker: String,
    namespace: String,
    /// `host:port`, as librdkafka wants them.
    servers: Vec<String>,
    has_tls: bool,
    user: Option<(String, SecretString)>,
    credentials: Arc<dyn Credentials>,
    table: BrokerTable,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// What one URL says.
struct Address {
    servers: Vec<String>,
    has_tls: bool,
    user: Option<(String, SecretString)>,
}

impl Target {
    /// # Errors
    /// `Config` for a URL that cannot be read; it is never quoted.
    pub(crate) fn new(request: &Connect, table: BrokerTable) -> Result<Self> {
        let mut addresses =
            request.urls.iter().map(|url| read(url.expose_secret())).collect::<Result<Vec<_>>>()?;
        if addresses.is_empty() {
            return Err(error::bad_url("there is no URL"));
        }
        let has_tls = addresses[0].has_tls;
        if addresses.iter().any(|address| address.has_tls != has_tls) {
            return Err(error::bad_url("the URLs of one cluster differ in TLS"));
        }
        if has_tls && !cfg!(feature = "tls") {
            return Err(error::bad_url("TLS is not compiled in").with_help(
                "enable the feature `tls` of polymq-kafka (`kafka-tls` of polymq), which brings OpenSSL, or use `kafka://`",
            ));
        }
        Ok(Self {
            broker: request.name.clone(),
            namespace: request.topology.namespace.to_string(),
            has_tls,
            user: addresses.iter_mut().find_map(|address| address.user.take()),
            servers: addresses.into_iter().flat_map(|address| address.servers).collect(),
            credentials: Arc::clone(&request.credentials),
            table,
        })
    }

    /// The broker's name in the configuration.
    pub(crate) fn broker(&self) -> &str {
        &self.broker
    }

    /// What separates environments on one cluster.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn table(&self) -> &BrokerTable {
        &self.table
    }

    /// `host:port` of every broker that the URLs name: without credentials.
    pub(crate) fn address(&self) -> String {
        self.servers.join(", ")
    }

    /// What every client of this cluster is made with, with the password as it is now. `purpose` is what
    /// the brokers' own lists show.
    ///
    /// # Errors
    /// `Config` when the password's file cannot be read.
    pub(crate) fn client(&self, purpose: &str) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Notice)
            .set("bootstrap.servers", self.servers.join(","))
            .set("client.id", format!("polymq-{}-{purpose}", self.namespace))
            .set("allow.auto.create.topics", "false")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("log.connection.close", "false")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set(
                "security.protocol",
                match (self.has_tls, self.user.is_some()) {
                    (false, false) => "plaintext",
                    (true, false) => "ssl",
                    (false, true) => "sasl_plaintext",
                    (true, true) => "sasl_ssl",
                },
            );
        if let Some((user, password)) = &self.user {
            let fresh = self.credentials.password()?;
            let password = fresh.as_ref().unwrap_or(password);
            config
                .set("sasl.mechanism", self.table.sasl.as_str())
                .set("sasl.username", user)
                .set("sasl.password", password.expose_secret());
        }
        let files = [
            ("ssl.ca.location", &self.table.ca_file),
            ("ssl.certificate.location", &self.table.cert_file),
            ("ssl.key.location", &self.table.key_file),
        ];
        for (key, file) in files {
            if let Some(path) = file {
                config.set(key, path.to_string_lossy());
            }
        }
        Ok(config)
    }
}

/// Reads a URL without ever quoting it: one scheme, maybe a user, one host or several.
fn read(url: &str) -> Result<Address> {
    let unreadable = || error::bad_url("the URL cannot be read");
    let (scheme, rest) = url.split_once("://").ok_or_else(unreadable)?;
    let has_tls = match scheme {
        PLAIN => false,
        TLS => true,
        _ => return Err(error::bad_url("the URL's scheme is neither kafka nor kafka+ssl")),
    };
    let (user, hosts) = rest.rsplit_once('@').map_or((None, rest), |(user, h)| (Some(user), h));
    let mut servers = Vec::new();
    for host in hosts.trim_end_matches('/').split(',') {
        let url = Url::parse(&format!("{PLAIN}://{host}")).map_err(|_| unreadable())?;
        let name = url.host_str().filter(|name| !name.is_empty()).ok_or_else(unreadable)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(error::bad_url("a path or query after the hosts means nothing on Kafka"));
        }
        servers.push(format!("{name}:{}", url.port().unwrap_or(9092)));
    }
    let user = user.map(credentials).transpose()?;
    Ok(Address { servers, has_tls, user })
}

fn credentials(text: &str) -> Result<(String, SecretString), Error> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let plain = |text: &str| {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
        decoded.map(String::from).map_err(|_| error::bad_url("user or password is not UTF-8"))
    };
    Ok((plain(user)?, SecretString::from(plain(password)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_host_or_several() {
        let one = read("kafka://localhost").unwrap();
        assert_eq!((one.servers, one.has_tls), (vec!["localhost:9092".to_owned()], false));
        let three = read("kafka+ssl://a:1,[::1]:2,c/").unwrap();
        assert_eq!(three.servers, ["a:1", "[::1]:2", "c:9092"]);
        assert!(three.has_tls);
    }

    #[test]
    fn a_user_is_unescaped() {
        let address = read("kafka://al%40ice:p%3Aw%2F@h").unwrap();
        let (user, password) = address.user.unwrap();
        assert_eq!((user.as_str(), password.expose_secret()), ("al@ice", "p:w/"));
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_being_quoted() {
        for url in ["kafka", "http://h", "kafka://", "kafka://h:x", "kafka://u:secret@h/path"] {
            let error = read(url).map(|_| ()).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("secret"), "{error}");
        }
    }
}
