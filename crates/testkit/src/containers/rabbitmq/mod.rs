//! RabbitMQ, with a virtual host for each test.

mod management;
mod server;
mod vhost;

pub(crate) use server::connect;
pub use server::{Rabbitmq, RabbitmqServer};
pub use vhost::Vhost;

use std::panic::Location;

use crate::TestBroker;
use crate::harness::require_real_time;

/// A RabbitMQ for one test, to be given to [`start_on`](crate::start_on): a virtual host of its own
/// in the container that all tests share.
///
/// The test runs in real time: [`idle`](crate::TestApp::idle) waits for delays, it doesn't skip them.
/// Every broker of the configuration is replaced by this one, as [`start`](crate::start) does. The
/// virtual host is given up when the last handle is dropped, and deleted by a later run.
///
/// The [module](crate::containers) says where the container comes from, and how to use a RabbitMQ
/// that runs already.
///
/// # Panics
/// With what is missing, when there is no RabbitMQ to be had; in a test whose time is virtual.
#[track_caller]
pub fn rabbitmq() -> impl Future<Output = TestBroker> {
    let caller = Location::caller();
    async move {
        require_real_time(caller);
        let vhost = async { RabbitmqServer::shared().await?.vhost().await };
        match vhost.await {
            Ok(vhost) => TestBroker::rabbitmq(vhost),
            Err(error) => panic!("{caller}: no RabbitMQ for this test: {error:?}"),
        }
    }
}
