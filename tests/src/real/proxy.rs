use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A way to a broker that can be closed and opened again: the broker seems away.
///
/// Closing it resets the connections that are open.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    broker: String,
    open: JoinSet<()>,
}

impl Proxy {
    /// A way to a host and port, closed.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn closed(broker: &str) -> Self {
        let address = listen("127.0.0.1:0").await.local_addr();
        let address = address.unwrap_or_else(|e| panic!("{e}"));
        Self { address, broker: broker.to_owned(), open: JoinSet::new() }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Lets connections through from now on.
    ///
    /// # Panics
    /// When its port is taken.
    pub async fn open(&mut self) {
        let (listener, broker) = (listen(&self.address()).await, self.broker.clone());
        self.open.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let broker = broker.clone();
                connections.spawn(async move {
                    // What goes wrong on either side, the other one sees as the end.
                    if let Ok(mut server) = TcpStream::connect(broker).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
    }

    /// Lets nothing through any more.
    pub async fn close(&mut self) {
        self.open.shutdown().await;
    }
}

async fn listen(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap_or_else(|e| panic!("{address}: {e}"))
}
