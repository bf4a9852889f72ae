use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use polymq_core::{Running, Service};
use polymq_testkit::containers::{RabbitmqServer, Vhost};

use super::{Folder, Management};

/// A virtual host of one test's own, on a RabbitMQ of one series, and a folder for the test's files.
#[derive(Debug)]
pub struct Place {
    vhost: Vhost,
    server: RabbitmqServer,
    folder: Folder,
}

impl Place {
    /// On the broker that all tests of the series share.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn shared(series: &str) -> Self {
        let server = RabbitmqServer::series(series).await;
        Self::on(server.unwrap_or_else(|e| panic!("{e:?}"))).await
    }

    pub(super) async fn on(server: RabbitmqServer) -> Self {
        let vhost = server.vhost().await.unwrap_or_else(|e| panic!("{e:?}"));
        Self { vhost, server, folder: Folder::default() }
    }

    /// Where it is, with credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        self.vhost.url()
    }

    /// Where it is for somebody else, or through something in between.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str, address: &str) -> String {
        format!("amqp://{user}:{password}@{address}/{}", self.vhost.name())
    }

    /// The broker's host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        let after_user = self.url().rsplit('@').next().unwrap_or_default();
        after_user.split('/').next().unwrap_or_default()
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &Vhost {
        &self.vhost
    }

    /// The broker.
    #[must_use]
    pub fn server(&self) -> &RabbitmqServer {
        &self.server
    }

    /// The test's folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Writes a configuration whose broker is this one. Its namespace is [`NAMESPACE`].
    #[must_use]
    pub fn config(&self, rest: &str) -> PathBuf {
        self.config_at(self.url(), rest)
    }

    /// Writes a configuration whose broker is at this URL.
    #[must_use]
    pub fn config_at(&self, url: &str, rest: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("polymq-{}.toml", NEXT.fetch_add(1, Ordering::Relaxed));
        let text = format!("namespace = \"{NAMESPACE}\"\nbroker.url = \"{url}\"\n{rest}\n");
        self.folder.file(&name, &text)
    }

    /// The broker's management API, for this virtual host.
    #[must_use]
    pub fn management(&self) -> Management {
        Management::new(self.server.management_url(), self.vhost.name())
    }
}

/// The namespace of every test that has a virtual host of its own.
pub const NAMESPACE: &str = "test";

/// Starts a service in this process.
///
/// # Errors
/// Whatever the start fails with.
pub async fn try_start<S: Send + Sync + 'static>(
    config: &Path,
    service: Service<S>,
) -> polymq_core::Result<Running> {
    let app = polymq::app().serve(service);
    let config = app.load(config)?;
    app.start(config).await
}

/// Starts a service in this process.
///
/// # Panics
/// When it does not start.
pub async fn start<S: Send + Sync + 'static>(config: &Path, service: Service<S>) -> Running {
    try_start(config, service).await.unwrap_or_else(|e| panic!("{e:?}"))
}
