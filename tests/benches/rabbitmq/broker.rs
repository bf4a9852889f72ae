//! The broker, and the one queue that both sides use.

use lapin::options::QueuePurgeOptions;
use lapin::{Connection, ConnectionProperties};
use polymq_testkit::containers::{RabbitmqServer, Vhost};

use crate::common::WINDOW;

/// A place of the benchmark's own on the broker.
pub(crate) struct Place {
    version: String,
    vhost: Vhost,
}

pub(crate) async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.unwrap()
}

impl Place {
    pub(crate) async fn new() -> Self {
        let server = RabbitmqServer::shared().await.unwrap();
        let vhost = server.vhost().await.unwrap();
        Self { version: server.version().to_owned(), vhost }
    }

    pub(crate) fn url(&self) -> &str {
        self.vhost.url()
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The exchange of the channel `orders`, and its queue.
    pub(crate) fn orders(&self) -> &'static str {
        "bench.orders"
    }

    pub(crate) fn config(&self) -> String {
        format!(
            "namespace = 'bench'\n\
             [broker]\nurl = '{}'\n\
             [channels.orders]\nkind = 'queue'\n\
             [consumers.reader]\nchannel = 'orders'\nprefetch = {WINDOW}\nconcurrency = 32\n\
             retry = {{ immediate = 0, delayed = 0 }}\n",
            self.url()
        )
    }

    /// Empties the queue, which holds `left` messages.
    pub(crate) async fn purge(&self, left: u64) {
        let connection = connect(self.url()).await;
        let channel = connection.create_channel().await.unwrap();
        let purged = channel.queue_purge(self.orders().into(), QueuePurgeOptions::default()).await;
        assert_eq!(u64::from(purged.unwrap()), left, "confirmed and not acked");
        connection.close(200, "purged".into()).await.unwrap();
    }
}
