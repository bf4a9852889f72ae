//! The brokers that the other tests run on: each is started if it doesn't run, and named.
//!
//! `cargo xtask test` runs this first, so that a broker that is missing ends the run at once.

#![allow(clippy::panic, clippy::print_stdout, reason = "a test that prints what it found")]

use futures_util::future::join_all;
use polymq_testkit::containers::{KafkaServer, Product, RabbitmqServer, Server};

#[tokio::test]
async fn every_broker_that_the_tests_need_can_be_had() {
    println!("memory          in the process");
    tokio::join!(
        can_be_had("RabbitMQ", &["4.3", "4.0"], RabbitmqServer::shared()),
        can_be_had("Kafka", &["4.2"], KafkaServer::shared()),
    );
}

async fn can_be_had<P: Product>(
    product: &str,
    series: &[&str],
    shared: impl Future<Output = polymq_core::Result<Server<P>>>,
) {
    let starting =
        series.iter().map(|series| async move { (*series, Server::<P>::series(series).await) });
    let mut started = join_all(starting).await;
    started.push(("", shared.await));
    for (series, server) in started {
        let server = server.unwrap_or_else(|error| panic!("{product} {series}: {error:?}"));
        let container = server.container().map_or("runs elsewhere", |container| container.name());
        println!("{product:8} {:6} {container}", server.version());
        assert!(server.version().starts_with(series), "{} is not {series}", server.version());
    }
}
