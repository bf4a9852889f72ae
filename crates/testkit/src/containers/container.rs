use std::net::Ipv4Addr;
use std::time::Duration;

use polymq_core::{Error, ErrorKind, Result};
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::query_parameters::RemoveContainerOptionsBuilder;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt, ReuseDirective};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::{Image, Setup, exec};

/// The label that says which container this is: the engine finds names by their beginning, too.
const LABEL: &str = "io.polymq.test";
/// How long a container may take to be made.
const STARTUP: Duration = Duration::from_secs(60);
/// How often making one is tried: another process may be making the same, or have taken the port.
const TRIES: usize = 5;
/// How long an orderly stop may take before it becomes a kill, in seconds.
const STOP: i32 = 30;

/// Tests of one process that want the same container don't race for its name.
static STARTING: Mutex<()> = Mutex::const_new(());

/// A broker's container. It outlives this handle, the test and the run: the next one finds it by
/// its name.
///
/// What the broker has written survives [`stop`](Self::stop), [`kill`](Self::kill) and
/// [`start`](Self::start), and its ports on the host stay the same.
#[derive(Debug)]
pub struct Container {
    inner: ContainerAsync<GenericImage>,
    engine: Docker,
    name: String,
}

impl Container {
    /// Finds the container of this name, starts it if it doesn't run, makes it if it isn't there.
    pub(super) async fn find_or_start(
        engine: &Docker,
        name: &str,
        image: &Image,
        setup: &Setup,
    ) -> Result<Self> {
        let _starting = STARTING.lock().await;
        let mut tried = 0;
        let inner = loop {
            tried += 1;
            match request(name, image, setup)?.start().await {
                Ok(inner) => break inner,
                Err(error) if tried == TRIES => {
                    return Err(failed("start", name, error).with_context("image", image));
                }
                Err(_) => sleep(Duration::from_millis(500)).await,
            }
        };
        Ok(Self { inner, engine: engine.clone(), name: name.to_owned() })
    }

    /// Removes the container of this name, with its data, if there is one.
    pub(super) async fn remove_named(engine: &Docker, name: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match engine.remove_container(name, Some(options)).await {
            Ok(()) | Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(error) => Err(failed("remove", name, error)),
        }
    }

    /// The container's name, for `docker logs`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a port of the container is on the host: a name or an address, and a port.
    ///
    /// # Errors
    /// `Other` when the engine doesn't say.
    pub async fn address(&self, port: u16) -> Result<(String, u16)> {
        let port = self.port(port).await?;
        // In a container, testcontainers names the engine's gateway, even if the engine is here.
        if is_here(port).await {
            return Ok(("localhost".to_owned(), port));
        }
        let host = self.inner.get_host().await.map_err(|e| self.failed("inspect", e))?;
        Ok((host.to_string(), port))
    }

    /// The host's port for a port of the container.
    ///
    /// # Errors
    /// As [`address`](Self::address).
    pub async fn port(&self, port: u16) -> Result<u16> {
        let port = self.inner.get_host_port_ipv4(port.tcp()).await;
        port.map_err(|e| self.failed("inspect", e))
    }

    /// Starts the container again. Returns before the broker in it takes connections.
    ///
    /// # Errors
    /// `Other` with what the engine says.
    pub async fn start(&self) -> Result<()> {
        self.inner.start().await.map_err(|e| self.failed("start", e))
    }

    /// Stops the broker in an orderly way.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn stop(&self) -> Result<()> {
        self.inner.stop_with_timeout(Some(STOP)).await.map_err(|e| self.failed("stop", e))
    }

    /// Ends the broker with SIGKILL.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn kill(&self) -> Result<()> {
        let killed = self.engine.kill_container(self.inner.id(), None).await;
        killed.map_err(|e| self.failed("kill", e))?;
        while self.inner.is_running().await.map_err(|e| self.failed("inspect", e))? {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Freezes the broker: its connections stay, and it says nothing.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn pause(&self) -> Result<()> {
        self.inner.pause().await.map_err(|e| self.failed("pause", e))
    }

    /// Lets a [paused](Self::pause) broker go on.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn resume(&self) -> Result<()> {
        self.inner.unpause().await.map_err(|e| self.failed("resume", e))
    }

    /// Removes the container, with its data.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn remove(self) -> Result<()> {
        Self::remove_named(&self.engine, &self.name).await
    }

    /// Runs a command in the container, such as `rabbitmqctl`, to its end: what it printed.
    ///
    /// # Errors
    /// `Other` with what it complained of, when it fails; as [`start`](Self::start).
    pub async fn run(&self, command: &[&str]) -> Result<String> {
        let ran = exec::run(&self.engine, self.inner.id(), command).await;
        let ran = ran.map_err(|e| self.failed("run a command in", e))?;
        if ran.succeeded {
            return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
        }
        let line = command.join(" ");
        Err(Error::new(ErrorKind::Other, format!("`{line}` failed in `{}`", self.name))
            .with_context("stderr", String::from_utf8_lossy(&ran.stderr)))
    }

    fn failed(
        &self,
        operation: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        failed(operation, &self.name, source)
    }
}

/// Whether a port of this machine takes connections.
async fn is_here(port: u16) -> bool {
    let connecting = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    matches!(timeout(Duration::from_secs(1), connecting).await, Ok(Ok(_)))
}

fn failed(
    operation: &'static str,
    name: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::new(ErrorKind::Other, format!("the container engine refused to {operation} `{name}`"))
        .with_operation(operation)
        .with_source(source)
        .with_help(format!(
            "see `docker logs {name}`; `docker rm --force --volumes {name}` makes way for a new one"
        ))
}

fn request(name: &str, image: &Image, setup: &Setup) -> Result<ContainerRequest<GenericImage>> {
    let request = GenericImage::new(&image.name, &image.tag)
        .with_container_name(name)
        .with_label(LABEL, name)
        .with_reuse(ReuseDirective::Always)
        .with_startup_timeout(STARTUP);
    setup.apply(request)
}
