//! The broker that the tests of this crate share.

use std::sync::LazyLock;

use polymq_testkit::containers::KafkaServer;

/// Starting it waits, which a thread of a test's own runtime must not.
static SERVER: LazyLock<KafkaServer> = LazyLock::new(|| {
    let start = || tokio::runtime::Runtime::new().unwrap().block_on(KafkaServer::shared()).unwrap();
    std::thread::spawn(start).join().unwrap()
});

pub(crate) fn server() -> &'static KafkaServer {
    &SERVER
}
