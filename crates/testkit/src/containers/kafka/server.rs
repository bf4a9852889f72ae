use std::env;
use std::net::Ipv4Addr;

use polymq_core::{Error, ErrorKind, Result};
use url::Url;

use super::settings::{self, PLAINTEXT, PORTS, SASL, TLS, TLS_HOST};
use super::{Admin, KafkaNamespace, Keystore};
use crate::containers::server::{Product, Server};
use crate::containers::{Container, Setup};

/// Where the official image and its equivalent have Kafka.
const HOME: &str = "/opt/kafka";

/// A Kafka for tests: one node, without automatic topics.
///
/// In a container it has three listeners. Over the first, [`address`](Self::address), nobody is asked
/// who they are, and everybody may do everything. Over [`sasl_address`](Self::sasl_address) users have
/// to log in: `alice`, with the password `alice`, who may do what no ACL takes from her, and `admin`,
/// with `admin`, who may do everything; both by `PLAIN`, and by SCRAM if a test makes them with
/// [`tool`](Self::tool). The third, [`tls_address`](Self::tls_address), is there if the broker was
/// started [with TLS](Self::with_tls).
pub type KafkaServer = Server<Kafka>;

/// Where a Kafka is.
#[derive(Debug)]
pub struct Kafka {
    address: String,
    sasl: Option<String>,
    tls: Option<String>,
}

impl Product for Kafka {
    const URL: &'static str = "TEST_KAFKA_URL";
    const IMAGE: &'static str = "TEST_KAFKA_IMAGE";
    const TAG: &'static str = "TEST_KAFKA_TAG";
    const IMAGES: [&'static str; 2] = ["apache/kafka", "polymq/kafka"];
    const DEFAULT_TAG: &'static str = "4.2.0";

    fn tag(series: &str) -> String {
        format!("{series}.0")
    }

    fn setup() -> Setup {
        setup(None)
    }

    fn at(url: &str) -> Result<Self> {
        let unreadable = || {
            Error::new(ErrorKind::Config, format!("{} is no URL of a Kafka", Self::URL))
                .with_help("write it as kafka://HOST:PORT")
        };
        let url = Url::parse(url).map_err(|error| unreadable().with_source(error))?;
        let host = url.host_str().ok_or_else(unreadable)?;
        let address = format!("{host}:{}", url.port().unwrap_or(PLAINTEXT));
        Ok(Self { address, sasl: None, tls: None })
    }

    async fn within(container: &Container) -> Result<Self> {
        let host = host();
        Ok(Self {
            address: format!("{host}:{}", container.port(PLAINTEXT).await?),
            sasl: Some(format!("{host}:{}", container.port(SASL).await?)),
            tls: Some(format!("{TLS_HOST}:{}", container.port(TLS).await?)),
        })
    }

    async fn answers(&self) -> Result<()> {
        Admin::new(&self.address)?.topics().await.map(drop)
    }

    /// The protocol doesn't tell.
    async fn version(&self, container: Option<&Container>) -> Result<String> {
        let Some(container) = container else { return Ok("of unknown version".to_owned()) };
        let libraries = container.run(&["ls", &format!("{HOME}/libs")]).await?;
        let version = libraries.lines().find_map(|library| {
            library.strip_prefix("kafka-clients-")?.strip_suffix(".jar").map(str::to_owned)
        });
        version.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no Kafka in `{}`", container.name()))
                .with_help("TEST_KAFKA_IMAGE is to name an image such as apache/kafka")
        })
    }
}

impl KafkaServer {
    /// As [`fresh`](Self::fresh), with a listener that speaks TLS.
    ///
    /// # Errors
    /// As [`shared`](Self::shared); `Disconnected` when the broker cannot read the keystore.
    pub async fn with_tls(series: &str, purpose: &str, keystore: Keystore) -> Result<Self> {
        Self::set_up(series, purpose, &setup(Some(keystore))).await
    }

    /// The broker's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("kafka://{}", self.address())
    }

    /// The broker's host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.product.address
    }

    /// The host and port of the listener whose users log in; none of a broker that runs elsewhere.
    #[must_use]
    pub fn sasl_address(&self) -> Option<&str> {
        self.product.sasl.as_deref()
    }

    /// The host and port of the listener that speaks TLS, if the broker was started
    /// [with it](Self::with_tls).
    #[must_use]
    pub fn tls_address(&self) -> Option<&str> {
        self.product.tls.as_deref()
    }

    /// A new namespace.
    ///
    /// # Errors
    /// `Disconnected` when the client cannot be made.
    pub fn namespace(&self) -> Result<KafkaNamespace> {
        KafkaNamespace::create(self.address())
    }

    /// Runs one of Kafka's own command line tools in the broker's container, such as `kafka-acls`:
    /// what it printed.
    ///
    /// # Errors
    /// `Unsupported` for a broker that runs elsewhere; `Other` with what the tool complained of.
    pub async fn tool(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let container = self.container().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the broker runs in no container of ours")
                .with_operation("run a tool")
        })?;
        let path = format!("{HOME}/bin/{name}.sh");
        let start = [path.as_str(), "--bootstrap-server", settings::INTERNAL];
        container.run(&[&start[..], arguments].concat()).await
    }
}

fn setup(keystore: Option<Keystore>) -> Setup {
    Setup::new(PORTS)
        .with_loopback(elsewhere().is_none())
        .with_environment(move |ports| settings::environment(&host(), ports, keystore.as_ref()))
}

/// Where the broker says that it is; `localhost` would be looked for on IPv6 first.
fn host() -> String {
    elsewhere().unwrap_or_else(|| Ipv4Addr::LOCALHOST.to_string())
}

/// Where the ports of containers will be, as far as that is known before there is one: the engine's
/// host, or none if the engine is on this machine.
fn elsewhere() -> Option<String> {
    let url = Url::parse(&env::var("DOCKER_HOST").ok()?).ok()?;
    url.host_str().filter(|host| !host.is_empty()).map(str::to_owned)
}
