use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use polymq_core::{Running, Service};

use super::{Folder, Series, Site};

/// A test's own site on a broker, and a folder for its files.
#[derive(Debug)]
pub struct Place<S: ?Sized = dyn Site> {
    folder: Folder,
    site: Box<S>,
}

impl Place {
    /// On the broker that all tests of the series share.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn shared(series: Series) -> Self {
        Self::on(series.site(None).await)
    }
}

impl<S: Site + ?Sized> Place<S> {
    pub(super) fn on(site: Box<S>) -> Self {
        Self { folder: Folder::default(), site }
    }

    /// The test's folder.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Writes a configuration whose broker is this one, and whose namespace is the site's.
    #[must_use]
    pub fn config(&self, rest: &str) -> PathBuf {
        self.config_at(&self.url(), rest)
    }

    /// Writes a configuration whose broker is at this URL.
    #[must_use]
    pub fn config_at(&self, url: &str, rest: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("polymq-{}.toml", NEXT.fetch_add(1, Ordering::Relaxed));
        let (namespace, settings) = (self.namespace(), self.settings());
        let text =
            format!("namespace = \"{namespace}\"\nbroker.url = \"{url}\"\n{settings}\n{rest}\n");
        self.folder.file(&name, &text)
    }
}

impl<S: ?Sized> Deref for Place<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.site
    }
}

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
