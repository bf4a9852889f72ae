//! The brokers that the other tests run on: each is started if it doesn't run, and named.
//!
//! `cargo xtask test` runs this first, so that a broker that is missing ends the run at once.

#![allow(clippy::panic, clippy::print_stdout, reason = "a test that prints what it found")]

use futures_util::future::join_all;
use polymq_testkit::containers::RabbitmqServer;

#[tokio::test]
async fn every_broker_that_the_tests_need_can_be_had() {
    let starting =
        ["4.3", "4.0"].map(|series| async move { (series, RabbitmqServer::series(series).await) });
    let mut started = join_all(starting).await;
    started.push(("", RabbitmqServer::shared().await));
    println!("memory          in the process");
    for (series, server) in started {
        let server = server.unwrap_or_else(|error| panic!("RabbitMQ {series}: {error:?}"));
        let container = server.container().map_or("runs elsewhere", |container| container.name());
        println!("RabbitMQ {:6} {container}", server.version());
        assert!(server.version().starts_with(series), "{} is not {series}", server.version());
    }
}
