use std::env;
use std::fmt::Debug;
use std::time::Duration;

use polymq_core::{Error, ErrorKind, Result};
use testcontainers::bollard::Docker;
use tokio::time::{Instant, sleep};

use super::engine::engine;
use super::{Container, Image, Setup};
use crate::fixture::{Lifecycle, not_restartable};

/// How long a broker may take until it takes connections: one that starts, and one that runs.
const STARTS: Duration = Duration::from_secs(90);
const RUNS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// How one kind of broker is found, made and spoken to.
pub trait Product: Debug + Send + Sync + Sized {
    /// The variable with the URL of one that runs.
    const URL: &'static str;
    /// The variable with an image's name.
    const IMAGE: &'static str;
    /// The variable with its tag.
    const TAG: &'static str;
    /// The official image, and what `docker/` builds where there is no registry.
    const IMAGES: [&'static str; 2];
    /// The tag where a test asks for no version.
    const DEFAULT_TAG: &'static str;

    /// The tag of a series of versions, such as `4.0`.
    fn tag(series: &str) -> String;

    /// What its container gets when it is made.
    fn setup() -> Setup;

    /// The one that runs at a URL.
    ///
    /// # Errors
    /// `Config` for a URL that cannot be read.
    fn at(url: &str) -> Result<Self>;

    /// The one in a container.
    ///
    /// # Errors
    /// `Other` with what the container engine says.
    fn within(container: &Container) -> impl Future<Output = Result<Self>> + Send;

    /// Whether it takes connections.
    ///
    /// # Errors
    /// `Disconnected` when it doesn't.
    fn answers(&self) -> impl Future<Output = Result<()>> + Send;

    /// The version of one that answers.
    ///
    /// # Errors
    /// `Disconnected` when it doesn't say.
    fn version(&self, container: Option<&Container>)
    -> impl Future<Output = Result<String>> + Send;
}

/// A broker for tests.
///
/// Cheap to ask for: the container that a name stands for is started once and found ever after.
#[derive(Debug)]
pub struct Server<P> {
    pub(super) product: P,
    container: Option<Container>,
    version: String,
}

impl<P: Product> Server<P> {
    /// Whether it can be stopped and killed.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        match self.container {
            Some(_) => Lifecycle::Restartable,
            None => Lifecycle::None("the broker runs in no container of the suite's".to_owned()),
        }
    }

    /// Stops it in an orderly way, until it is [restarted](Self::restart).
    ///
    /// # Errors
    /// `Unsupported` for a broker that runs elsewhere; what the container engine says.
    pub async fn stop(&self) -> Result<()> {
        match &self.container {
            Some(container) => container.stop().await,
            None => Err(not_restartable("stop")),
        }
    }

    /// Ends it without a warning, until it is [restarted](Self::restart).
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub async fn kill(&self) -> Result<()> {
        match &self.container {
            Some(container) => container.kill().await,
            None => Err(not_restartable("kill")),
        }
    }

    /// The one that all tests share: the one that the variable `TEST_…_URL` names, else a container of
    /// the default image.
    ///
    /// # Errors
    /// `Disconnected` without a container engine or a broker that answers, `NotFound` without an
    /// image, `Config` for a variable that cannot be read; each says what to do.
    pub async fn shared() -> Result<Self> {
        match variable(P::URL) {
            Some(url) => Self::ready(P::at(&url)?, None).await,
            None => {
                let tag = variable(P::TAG).unwrap_or_else(|| P::DEFAULT_TAG.to_owned());
                Self::contained(&tag, "").await
            }
        }
    }

    /// The container of one series of versions, such as `4.0`, that all tests of the series share.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub async fn series(series: &str) -> Result<Self> {
        Self::contained(&P::tag(series), "").await
    }

    /// A container of this series that serves one purpose, so that whoever shares that purpose may
    /// stop and kill the broker.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub async fn dedicated(series: &str, purpose: &str) -> Result<Self> {
        Self::contained(&P::tag(series), &format!("-{purpose}")).await
    }

    /// As [`dedicated`](Self::dedicated), but without anything that an earlier run has left in it.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub async fn fresh(series: &str, purpose: &str) -> Result<Self> {
        Self::set_up(series, purpose, &P::setup()).await
    }

    /// As [`fresh`](Self::fresh), with a setup of its own.
    pub(super) async fn set_up(series: &str, purpose: &str, setup: &Setup) -> Result<Self> {
        let (engine, image) = Self::image(&P::tag(series)).await?;
        let name = container_name(&image, &format!("-{purpose}"));
        Container::remove_named(&engine, &name).await?;
        Self::in_container(&engine, &name, &image, setup).await
    }

    async fn contained(tag: &str, purpose: &str) -> Result<Self> {
        let (engine, image) = Self::image(tag).await?;
        let name = container_name(&image, purpose);
        Self::in_container(&engine, &name, &image, &P::setup()).await
    }

    async fn image(tag: &str) -> Result<(Docker, Image)> {
        let engine = engine().await?;
        let own = variable(P::IMAGE);
        let names = own.as_deref().map_or(P::IMAGES.to_vec(), |name| vec![name]);
        let image = Image::find(&engine, &names, tag).await.map_err(|error| {
            error.with_help(format!(
                "pull it where a registry answers, or build its equivalent from docker/ of polymq's \
                 repository (`cargo xtask test` does), or name a running broker: {}",
                P::URL
            ))
        })?;
        Ok((engine, image))
    }

    async fn in_container(
        engine: &Docker,
        name: &str,
        image: &Image,
        setup: &Setup,
    ) -> Result<Self> {
        let container = Container::find_or_start(engine, name, image, setup).await?;
        Self::ready(P::within(&container).await?, Some(container)).await
    }

    async fn ready(product: P, container: Option<Container>) -> Result<Self> {
        let mut server = Self { product, container, version: String::new() };
        server.wait().await?;
        server.version = server.product.version(server.container.as_ref()).await?;
        Ok(server)
    }

    /// Waits until the broker takes connections.
    async fn wait(&self) -> Result<()> {
        let (limit, help) = match &self.container {
            Some(container) => (STARTS, format!("see `docker logs {}`", container.name())),
            None => (RUNS, format!("check {}, and that it runs", P::URL)),
        };
        let deadline = Instant::now() + limit;
        loop {
            match self.product.answers().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error.with_help(help)),
                // A broker that starts refuses everybody, before it knows its users.
                Err(_) => {}
            }
            sleep(POLL).await;
        }
    }

    /// The running version, such as `4.3.6`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
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

/// A variable that is set, and to something.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
