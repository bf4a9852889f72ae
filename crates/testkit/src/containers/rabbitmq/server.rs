use std::env;
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use polymq_core::{Error, ErrorKind, Result};
use testcontainers::bollard::Docker;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::Vhost;
use super::management::Management;
use crate::containers::container::{Container, engine};
use crate::containers::image::Image;

const URL: &str = "TEST_RABBITMQ_URL";
const MANAGEMENT_URL: &str = "TEST_RABBITMQ_MANAGEMENT_URL";
const IMAGE: &str = "TEST_RABBITMQ_IMAGE";
const TAG: &str = "TEST_RABBITMQ_TAG";

/// The official image, and what `docker/` builds where there is no registry.
const IMAGES: [&str; 2] = ["rabbitmq", "polymq/rabbitmq"];
const DEFAULT_TAG: &str = "4-management";
const AMQP: u16 = 5672;
const MANAGEMENT: u16 = 15672;

/// How long a broker may take until it takes connections: one that starts, and one that runs.
const STARTS: Duration = Duration::from_secs(90);
const RUNS: Duration = Duration::from_secs(10);
/// A port can be open before somebody answers.
const CONNECT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// A RabbitMQ for tests.
///
/// Cheap to ask for: the container that a name stands for is started once and found ever after.
#[derive(Debug)]
pub struct RabbitmqServer {
    /// Of the virtual host `/`, with credentials.
    url: Url,
    management: Management,
    container: Option<Container>,
    version: String,
}

impl RabbitmqServer {
    /// The one that all tests share: the one that `TEST_RABBITMQ_URL` names, else a container of the
    /// default image.
    ///
    /// # Errors
    /// `Disconnected` without a container engine or a broker that answers, `NotFound` without an
    /// image, `Config` for a variable that cannot be read; each says what to do.
    pub async fn shared() -> Result<Self> {
        match variable(URL) {
            Some(url) => Self::running(&url).await,
            None => {
                let tag = variable(TAG).unwrap_or_else(|| DEFAULT_TAG.to_owned());
                Self::contained(&tag, "").await
            }
        }
    }

    /// The container of one series of versions, such as `4.0`, that all tests of the series share.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub async fn series(series: &str) -> Result<Self> {
        Self::contained(&format!("{series}-management"), "").await
    }

    /// A container of this series that serves one purpose, so that whoever shares that purpose may
    /// stop and kill the broker.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub async fn dedicated(series: &str, purpose: &str) -> Result<Self> {
        Self::contained(&format!("{series}-management"), &format!("-{purpose}")).await
    }

    /// As [`dedicated`](Self::dedicated), but without anything that an earlier run has left in it.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub async fn fresh(series: &str, purpose: &str) -> Result<Self> {
        let (engine, image) = Self::image(&format!("{series}-management")).await?;
        let name = container_name(&image, &format!("-{purpose}"));
        Container::remove_named(&engine, &name).await?;
        Self::in_container(&engine, &name, &image).await
    }

    async fn running(url: &str) -> Result<Self> {
        let url = parse(URL, url)?;
        let management = match variable(MANAGEMENT_URL) {
            Some(url) => parse(MANAGEMENT_URL, &url)?,
            None => {
                let host = url.host_str().unwrap_or("localhost");
                parse(MANAGEMENT_URL, &format!("http://{host}:{MANAGEMENT}"))?
            }
        };
        Self::ready(url, &management, None).await
    }

    async fn contained(tag: &str, purpose: &str) -> Result<Self> {
        let (engine, image) = Self::image(tag).await?;
        Self::in_container(&engine, &container_name(&image, purpose), &image).await
    }

    async fn image(tag: &str) -> Result<(Docker, Image)> {
        let engine = engine().await?;
        let own = variable(IMAGE);
        let names = own.as_deref().map_or(IMAGES.to_vec(), |name| vec![name]);
        let image = Image::find(&engine, &names, tag).await?;
        Ok((engine, image))
    }

    async fn in_container(engine: &Docker, name: &str, image: &Image) -> Result<Self> {
        let ports = [AMQP, MANAGEMENT];
        let container = Container::find_or_start(engine, name, image, &ports).await?;
        let (host, port) = container.address(AMQP).await?;
        let url = parse("the container", &format!("amqp://guest:guest@{host}:{port}/%2f"))?;
        let (host, port) = container.address(MANAGEMENT).await?;
        let management = parse("the container", &format!("http://{host}:{port}"))?;
        Self::ready(url, &management, Some(container)).await
    }

    async fn ready(url: Url, management: &Url, container: Option<Container>) -> Result<Self> {
        let management = Management::new(management, &url)?;
        let mut server = Self { url, management, container, version: String::new() };
        server.wait().await?;
        server.version = server.management.version().await?;
        Ok(server)
    }

    /// Waits until the broker takes connections and its management API answers.
    async fn wait(&self) -> Result<()> {
        let (limit, help) = match &self.container {
            Some(container) => (STARTS, format!("see `docker logs {}`", container.name())),
            None => (RUNS, format!("check {URL} and {MANAGEMENT_URL}, and that it runs")),
        };
        let deadline = Instant::now() + limit;
        loop {
            match self.answers().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error.with_help(help)),
                // A broker that starts refuses everybody, before it knows its users.
                Err(_) => {}
            }
            sleep(POLL).await;
        }
    }

    async fn answers(&self) -> Result<()> {
        let connection = connect(self.url.as_str()).await?;
        // A broker that goes down in between has answered all the same.
        let _ = connection.close(200, "ready".into()).await;
        self.management.version().await.map(drop)
    }

    /// The running version, such as `4.3.6`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The URL of the virtual host `/`, with credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The management API's address, without credentials: those of [`url`](Self::url) fit.
    #[must_use]
    pub fn management_url(&self) -> &str {
        self.management.url()
    }

    /// A new virtual host.
    ///
    /// # Errors
    /// `Disconnected`; `PermissionDenied` when the user may not make any.
    pub async fn vhost(&self) -> Result<Vhost> {
        Vhost::create(self.management.clone(), &self.url).await
    }

    /// The container that the broker runs in, unless it runs elsewhere.
    #[must_use]
    pub fn container(&self) -> Option<&Container> {
        self.container.as_ref()
    }

    /// Removes the broker's container with all that is in it; one that runs elsewhere stays.
    ///
    /// # Errors
    /// `Other` with what the container engine says.
    pub async fn remove(self) -> Result<()> {
        match self.container {
            Some(container) => container.remove().await,
            None => Ok(()),
        }
    }

    /// Starts the broker's container after a stop or a kill, and waits until the broker takes
    /// connections.
    ///
    /// # Errors
    /// `Unsupported` for a broker that runs elsewhere; `Disconnected` when it doesn't come up.
    pub async fn restart(&self) -> Result<()> {
        let Some(container) = &self.container else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the broker runs in no container of ours",
            ));
        };
        container.start().await?;
        self.wait().await
    }
}

fn container_name(image: &Image, purpose: &str) -> String {
    format!("polymq-test-{}-{}{purpose}", image.name.replace(['/', ':'], "-"), image.tag)
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

/// A variable that is set, and to something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn parse(what: &'static str, url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| {
        Error::new(ErrorKind::Config, format!("{what} is no URL"))
            .with_source(error)
            .with_help("write it as amqp://USER:PASSWORD@HOST:PORT or http://HOST:PORT")
    })
}
