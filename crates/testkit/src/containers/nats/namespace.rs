use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream;
use futures_util::TryStreamExt;
use polymq_core::{Error, ErrorKind, Namespace, Result};

use crate::containers::leftovers::{self, apart, is_abandoned, now};

/// A namespace that one test has for itself: streams whose names begin with it.
///
/// Dropping it deletes them.
pub struct NatsNamespace {
    name: Namespace,
    url: String,
}

impl NatsNamespace {
    pub(super) fn create(url: &str) -> Result<Self> {
        sweep(url);
        Ok(Self { name: Namespace::new(leftovers::name())?, url: url.to_owned() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Namespace {
        &self.name
    }

    /// The server's URL, with credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for NatsNamespace {
    fn drop(&mut self) {
        let (name, url) = (self.name.clone(), self.url.clone());
        // What could not be deleted is, by a later run, when it is old.
        let _ = apart(async move { delete(&url, |n| n.starts_with(name.as_str())).await }).join();
    }
}

impl fmt::Debug for NatsNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsNamespace").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Deletes, once per process and without anybody waiting for it, what killed tests have left.
fn sweep(url: &str) {
    static SWEPT: AtomicBool = AtomicBool::new(false);
    if SWEPT.swap(true, Ordering::Relaxed) {
        return;
    }
    let (url, now) = (url.to_owned(), now());
    apart(async move { delete(&url, |name| is_abandoned(name, now)).await });
}

async fn delete(url: &str, is_over: impl Fn(&str) -> bool) -> Result<()> {
    let client = async_nats::connect(url).await.map_err(unanswered)?;
    let jetstream = jetstream::new(client);
    let mut names: Vec<String> =
        jetstream.stream_names().try_collect().await.map_err(unanswered)?;
    names.retain(|name| is_over(name));
    for name in names {
        jetstream.delete_stream(&name).await.map_err(unanswered)?;
    }
    Ok(())
}

fn unanswered(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Disconnected, "JetStream doesn't answer").with_source(error)
}
