use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use polymq_core::{Error, ErrorKind, Result};
use tokio::time::timeout;
use url::Url;

use super::Vhost;
use super::management::Management;
use crate::containers::server::{Product, Server, variable};
use crate::containers::{Container, Setup};

const MANAGEMENT_URL: &str = "TEST_RABBITMQ_MANAGEMENT_URL";

const AMQP: u16 = 5672;
const MANAGEMENT: u16 = 15672;

/// A port can be open before somebody answers.
const CONNECT: Duration = Duration::from_secs(5);

/// A RabbitMQ for tests.
///
/// One that runs already may have its management API somewhere else than on port 15672 of its host:
/// `TEST_RABBITMQ_MANAGEMENT_URL` says where.
pub type RabbitmqServer = Server<Rabbitmq>;

/// Where a RabbitMQ is.
#[derive(Debug)]
pub struct Rabbitmq {
    /// Of the virtual host `/`, with credentials.
    url: Url,
    management: Management,
}

impl Product for Rabbitmq {
    const URL: &'static str = "TEST_RABBITMQ_URL";
    const IMAGE: &'static str = "TEST_RABBITMQ_IMAGE";
    const TAG: &'static str = "TEST_RABBITMQ_TAG";
    const IMAGES: [&'static str; 2] = ["rabbitmq", "polymq/rabbitmq"];
    const DEFAULT_TAG: &'static str = "4-management";

    fn tag(series: &str) -> String {
        format!("{series}-management")
    }

    fn setup() -> Setup {
        Setup::new(&[AMQP, MANAGEMENT])
    }

    fn at(url: &str) -> Result<Self> {
        let url = parse(Self::URL, url)?;
        let management = match variable(MANAGEMENT_URL) {
            Some(url) => parse(MANAGEMENT_URL, &url)?,
            None => {
                let host = url.host_str().unwrap_or("localhost");
                parse(MANAGEMENT_URL, &format!("http://{host}:{MANAGEMENT}"))?
            }
        };
        Ok(Self { management: Management::new(&management, &url)?, url })
    }

    async fn within(container: &Container) -> Result<Self> {
        let (host, port) = container.address(AMQP).await?;
        let url = parse("the container", &format!("amqp://guest:guest@{host}:{port}/%2f"))?;
        let (host, port) = container.address(MANAGEMENT).await?;
        let management = parse("the container", &format!("http://{host}:{port}"))?;
        Ok(Self { management: Management::new(&management, &url)?, url })
    }

    async fn answers(&self) -> Result<()> {
        let connection = connect(self.url.as_str()).await?;
        // A broker that goes down in between has answered all the same.
        let _ = connection.close(200, "ready".into()).await;
        self.management.version().await.map(drop)
    }

    async fn version(&self, _: Option<&Container>) -> Result<String> {
        self.management.version().await
    }
}

impl RabbitmqServer {
    /// The URL of the virtual host `/`, with credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        self.product.url.as_str()
    }

    /// The management API's address, without credentials: those of [`url`](Self::url) fit.
    #[must_use]
    pub fn management_url(&self) -> &str {
        self.product.management.url()
    }

    /// A new virtual host.
    ///
    /// # Errors
    /// `Disconnected`; `PermissionDenied` when the user may not make any.
    pub async fn vhost(&self) -> Result<Vhost> {
        Vhost::create(self.product.management.clone(), &self.product.url).await
    }
}

/// A connection of a client that isn't ours.
pub(crate) async fn connect(url: &str) -> Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name("polymq-testkit".into());
    let error = || Error::new(ErrorKind::Disconnected, "RabbitMQ takes no connection");
    match timeout(CONNECT, Connection::connect(url, properties)).await {
        Ok(connected) => connected.map_err(|source| error().with_source(source)),
        Err(elapsed) => Err(error().with_source(elapsed)),
    }
}

fn parse(what: &'static str, url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| {
        Error::new(ErrorKind::Config, format!("{what} is no URL"))
            .with_source(error)
            .with_help("write it as amqp://USER:PASSWORD@HOST:PORT or http://HOST:PORT")
    })
}
