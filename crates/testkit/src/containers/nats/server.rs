use std::time::Duration;

use polymq_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::NatsNamespace;
use crate::containers::server::{Product, Server};
use crate::containers::{Container, Setup};

const CLIENTS: u16 = 4222;
const MONITORING: u16 = 8222;

/// Where the container has its configuration.
const CONFIG: &str = "/polymq.conf";
const DEFAULT_CONFIG: &str = "
port: 4222
http_port: 8222
jetstream { store_dir: /data }
";

/// A port can be open before somebody answers.
const CONNECT: Duration = Duration::from_secs(5);

/// A NATS server for tests: one node, with JetStream, without authentication.
pub type NatsServer = Server<Nats>;

/// Where a NATS server is.
#[derive(Debug)]
pub struct Nats {
    url: Url,
}

/// What a server says first to whoever connects.
#[derive(Deserialize)]
struct Info {
    version: String,
}

impl Product for Nats {
    const URL: &'static str = "TEST_NATS_URL";
    const IMAGE: &'static str = "TEST_NATS_IMAGE";
    const TAG: &'static str = "TEST_NATS_TAG";
    const IMAGES: [&'static str; 2] = ["nats", "polymq/nats"];
    const DEFAULT_TAG: &'static str = "2.15";

    fn tag(series: &str) -> String {
        series.to_owned()
    }

    fn setup() -> Setup {
        setup(DEFAULT_CONFIG)
    }

    fn at(url: &str) -> Result<Self> {
        let url = Url::parse(url).map_err(|error| {
            Error::new(ErrorKind::Config, format!("{} is no URL", Self::URL))
                .with_source(error)
                .with_help("write it as nats://HOST:PORT, or nats://USER:PASSWORD@HOST:PORT")
        })?;
        Ok(Self { url })
    }

    async fn within(container: &Container) -> Result<Self> {
        let (host, port) = container.address(CLIENTS).await?;
        Self::at(&format!("nats://{host}:{port}"))
    }

    async fn answers(&self) -> Result<()> {
        self.info().await.map(drop)
    }

    async fn version(&self, _: Option<&Container>) -> Result<String> {
        Ok(self.info().await?.version)
    }
}

impl Nats {
    fn address(&self) -> String {
        let host = self.url.host_str().unwrap_or("localhost");
        format!("{host}:{}", self.url.port().unwrap_or(CLIENTS))
    }

    async fn info(&self) -> Result<Info> {
        let silent = || Error::new(ErrorKind::Disconnected, "NATS says nothing");
        let greeting = async {
            let mut line = String::new();
            let socket = TcpStream::connect(self.address()).await?;
            BufReader::new(socket).read_line(&mut line).await?;
            std::io::Result::Ok(line)
        };
        let line = match timeout(CONNECT, greeting).await {
            Ok(greeting) => greeting.map_err(|error| silent().with_source(error))?,
            Err(elapsed) => return Err(silent().with_source(elapsed)),
        };
        let info = line.strip_prefix("INFO ").ok_or_else(silent)?;
        serde_json::from_str(info).map_err(|error| silent().with_source(error))
    }
}

impl NatsServer {
    /// As [`fresh`](Self::fresh), with a configuration of its own, and the files that it names. Clients
    /// connect to the container's port 4222, monitoring is on 8222, and `/data` outlives a restart.
    ///
    /// # Errors
    /// As [`shared`](Self::shared); `Disconnected` when the server cannot read the configuration.
    pub async fn with_config(
        series: &str,
        purpose: &str,
        config: &str,
        files: &[(&str, &str)],
    ) -> Result<Self> {
        let setup =
            files.iter().fold(setup(config), |setup, (path, text)| setup.with_file(path, text));
        Self::set_up(series, purpose, &setup).await
    }

    /// The server's URL, with the credentials that `TEST_NATS_URL` has.
    #[must_use]
    pub fn url(&self) -> &str {
        self.product.url.as_str()
    }

    /// The server's host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.product.address()
    }

    /// The host and port of the container's monitoring, for HTTP; none of a server that runs elsewhere.
    ///
    /// # Errors
    /// `Other` when the engine doesn't say.
    pub async fn monitoring(&self) -> Result<Option<String>> {
        let Some(container) = self.container() else { return Ok(None) };
        let (host, port) = container.address(MONITORING).await?;
        Ok(Some(format!("{host}:{port}")))
    }

    /// A new namespace.
    ///
    /// # Errors
    /// None that a test can cause.
    pub fn namespace(&self) -> Result<NatsNamespace> {
        NatsNamespace::create(self.url())
    }
}

fn setup(config: &str) -> Setup {
    Setup::new(&[CLIENTS, MONITORING]).with_file(CONFIG, config).with_command(&["--config", CONFIG])
}
