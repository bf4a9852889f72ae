//! A way to the broker that can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::scene::url;

/// Passes connections on. Dropped, it ends them all, as the death of a process does, and takes no more.
pub(super) struct Relay {
    port: u16,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { port, _task: AbortOnDropHandle::new(tokio::spawn(pass_on(listener))) }
    }

    /// Where to connect to.
    pub(super) fn url(&self) -> String {
        let mut url: Url = url().parse().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }
}

async fn pass_on(listener: TcpListener) {
    let url: Url = url().parse().unwrap();
    let broker = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5672));
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let mut far = TcpStream::connect(broker.clone()).await.unwrap();
        connections.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    }
}
