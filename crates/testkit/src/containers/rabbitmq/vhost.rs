use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use polymq_core::{Error, ErrorKind, Result};
use url::Url;

use super::management::{Management, Queue};
use super::server::connect;

/// How the virtual hosts of tests begin; the second of their making follows.
const PREFIX: &str = "polymq-test-";
/// After this time a virtual host belongs to a test that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A virtual host that one test has for itself: a broker within the broker.
///
/// Dropping it deletes it, with every queue and connection in it.
pub struct Vhost {
    name: String,
    url: Url,
    management: Management,
    deleted: bool,
}

impl Vhost {
    pub(super) async fn create(management: Management, server: &Url) -> Result<Self> {
        sweep(&management).await?;
        let name = format!("{PREFIX}{}-{:016x}", now().as_secs(), rand::random::<u64>());
        management.create_vhost(&name).await?;
        let mut url = server.clone();
        url.set_path(&name);
        Ok(Self { name, url, management, deleted: false })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, with credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Deletes it, with all that is in it.
    ///
    /// # Errors
    /// `Disconnected`; it is then deleted by a later run.
    pub async fn delete(mut self) -> Result<()> {
        self.deleted = true;
        self.management.delete_vhost(&self.name).await
    }

    /// Deletes the queues and exchanges whose names begin like this.
    ///
    /// # Errors
    /// `Disconnected`.
    pub async fn delete_objects(&self, prefix: &str) -> Result<()> {
        let queues = self.management.queues(&self.name).await?;
        let exchanges = self.management.exchanges(&self.name).await?;
        let connection = connect(self.url()).await?;
        let channel = connection.create_channel().await.map_err(unanswered)?;
        for queue in queues.into_iter().filter(|queue| queue.name.starts_with(prefix)) {
            let deleted = channel.queue_delete(queue.name.into(), QueueDeleteOptions::default());
            deleted.await.map_err(unanswered)?;
        }
        for exchange in exchanges.into_iter().filter(|name| name.starts_with(prefix)) {
            let deleted =
                channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
            deleted.await.map_err(unanswered)?;
        }
        connection.close(200, "deleted".into()).await.map_err(unanswered)
    }

    /// How many messages wait in queues that hand them on after a time: a delay is on its way there,
    /// for whoever it is.
    pub async fn delayed(&self) -> Result<u64> {
        let queues = self.management.queues(&self.name).await?;
        let mut queues = queues.into_iter().filter(hands_on).peekable();
        if queues.peek().is_none() {
            return Ok(0);
        }
        let connection = connect(self.url()).await?;
        let channel = connection.create_channel().await.map_err(unanswered)?;
        let mut waiting = 0;
        for queue in queues {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let declared = channel.queue_declare(queue.name.into(), options, FieldTable::default());
            waiting += u64::from(declared.await.map_err(unanswered)?.message_count());
        }
        connection.close(200, "counted".into()).await.map_err(unanswered)?;
        Ok(waiting)
    }
}

/// Whether what expires in the queue goes elsewhere.
fn hands_on(queue: &Queue) -> bool {
    ["x-message-ttl", "x-dead-letter-exchange"].iter().all(|a| queue.arguments.contains_key(*a))
}

fn unanswered(error: lapin::Error) -> Error {
    Error::new(ErrorKind::Disconnected, "the objects of a virtual host could not be reached")
        .with_source(error)
}

impl Drop for Vhost {
    fn drop(&mut self) {
        if self.deleted {
            return;
        }
        let (management, name) = (self.management.clone(), self.name.clone());
        // A runtime of its own: the test's may be at its end. What fails here is swept later.
        let deleting = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(management.delete_vhost(&name)).ok()
        });
        let _ = deleting.join();
    }
}

impl fmt::Debug for Vhost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vhost").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Deletes, once per process, the virtual hosts of tests that were killed.
async fn sweep(management: &Management) -> Result<()> {
    static SWEPT: AtomicBool = AtomicBool::new(false);
    if SWEPT.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    for name in management.vhosts().await? {
        if abandoned(&name, now()) {
            management.delete_vhost(&name).await?;
        }
    }
    Ok(())
}

fn abandoned(vhost: &str, now: Duration) -> bool {
    let second = vhost.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
    second.is_some_and(|made| Duration::from_secs(made) + ABANDONED < now)
}

/// Since 1970. The test's own clock may be a virtual one.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_test_left_behind_long_ago_is_swept() {
        let now = Duration::from_secs(10_000);
        assert!(abandoned("polymq-test-6399-0123", now));
        assert!(!abandoned("polymq-test-6400-0123", now));
        assert!(!abandoned("polymq-test-other", now));
        assert!(!abandoned("/", now));
    }
}
