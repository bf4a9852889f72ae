use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use polymq_core::{Error, ErrorKind, Result};
use url::Url;

use super::management::{Management, Queue, VirtualHost};
use super::server::connect;
use crate::containers::leftovers::{self, apart, is_abandoned, is_past, made, now};

/// How the description begins once the test has ended; the second of its end follows.
const ENDED: &str = "ended ";
/// RabbitMQ keeps everybody waiting while it deletes queues that were only just made.
const SETTLED: Duration = Duration::from_secs(60);

/// A virtual host that one test has for itself: a broker within the broker.
///
/// Dropping it says that the test has ended: a later run deletes it, with all that is in it.
pub struct Vhost {
    name: String,
    url: Url,
    management: Management,
}

impl Vhost {
    pub(super) async fn create(management: Management, server: &Url) -> Result<Self> {
        sweep(&management);
        let name = leftovers::name();
        let vhost = VirtualHost { name, description: "in use by a test of polymq's".to_owned() };
        management.put_vhost(&vhost).await?;
        let mut url = server.clone();
        url.set_path(&vhost.name);
        Ok(Self { name: vhost.name, url, management })
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
        let description = format!("{ENDED}{}", now().as_secs());
        let vhost = VirtualHost { name: self.name.clone(), description };
        let management = self.management.clone();
        // One that could not be told is deleted when it is old.
        let _ = apart(async move { management.put_vhost(&vhost).await }).join();
    }
}

impl fmt::Debug for Vhost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vhost").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Deletes, once per process and without anybody waiting for it, what ended tests have left.
fn sweep(management: &Management) {
    static SWEPT: AtomicBool = AtomicBool::new(false);
    if SWEPT.swap(true, Ordering::Relaxed) {
        return;
    }
    let management = management.clone();
    apart(async move {
        for vhost in management.vhosts().await? {
            if is_over(&vhost, now()) {
                management.delete_vhost(&vhost.name).await?;
            }
        }
        Ok(())
    });
}

fn is_over(vhost: &VirtualHost, now: Duration) -> bool {
    let ended = vhost.description.strip_prefix(ENDED).unwrap_or_default();
    is_abandoned(&vhost.name, now) || made(&vhost.name).is_some() && is_past(ended, SETTLED, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_over_at_10_000(name: &str, description: &str) -> bool {
        let (name, description) = (name.to_owned(), description.to_owned());
        is_over(&VirtualHost { name, description }, Duration::from_secs(10_000))
    }

    #[test]
    fn only_what_a_test_has_left_a_while_ago_is_swept() {
        assert!(is_over_at_10_000("polymq-test-9900-0123", "ended 9939"));
        assert!(!is_over_at_10_000("polymq-test-9900-0123", "ended 9940"));
        assert!(!is_over_at_10_000("polymq-test-9900-0123", "in use"));
        assert!(is_over_at_10_000("polymq-test-6399-0123", "in use"));
        assert!(!is_over_at_10_000("polymq-test-6400-0123", "in use"));
        assert!(!is_over_at_10_000("production", "ended 1"));
        assert!(!is_over_at_10_000("/", ""));
    }
}
