//! Kafka, with a namespace for each test.

mod admin;
mod keystore;
mod namespace;
mod server;
mod settings;

pub(crate) use admin::Admin;
pub use keystore::Keystore;
pub use namespace::KafkaNamespace;
pub use server::{Kafka, KafkaServer};

use std::panic::Location;

use crate::TestBroker;
use crate::harness::require_real_time;

/// A Kafka for one test, to be given to [`start_on`](crate::start_on): a namespace of its own on the
/// broker that all tests share.
///
/// The test runs in real time: [`idle`](crate::TestApp::idle) waits for delays, it doesn't skip them.
/// Every broker of the configuration is replaced by this one, as [`start`](crate::start) does, and the
/// namespace by the test's own. What is in it is deleted when the last handle is dropped.
///
/// The [module](crate::containers) says where the container comes from, and how to use a Kafka that
/// runs already.
///
/// # Panics
/// With what is missing, when there is no Kafka to be had; in a test whose time is virtual.
#[track_caller]
pub fn kafka() -> impl Future<Output = TestBroker> {
    let caller = Location::caller();
    async move {
        require_real_time(caller);
        let namespace = async { KafkaServer::shared().await?.namespace() };
        match namespace.await {
            Ok(namespace) => TestBroker::kafka(namespace),
            Err(error) => panic!("{caller}: no Kafka for this test: {error:?}"),
        }
    }
}
