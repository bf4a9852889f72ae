//! A way to the broker that can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// Passes connections on. Dropped, it ends them all, as the death of a process does, and takes no more.
pub(super) struct Relay {
    url: Url,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    /// Leads to the broker of this URL.
    pub(super) async fn open(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url: Url = url.parse().unwrap();
        let broker = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5672));
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        Self { url, _task: AbortOnDropHandle::new(tokio::spawn(pass_on(listener, broker))) }
    }

    /// Where to connect to.
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }
}

async fn pass_on(listener: TcpListener, broker: (String, u16)) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let mut far = TcpStream::connect(broker.clone()).await.unwrap();
        connections.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    }
}
