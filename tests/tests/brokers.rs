//! The brokers that the other tests run on: each is started if it doesn't run, and named.
//!
//! `cargo xtask test` runs this first, so that a broker that is missing ends the run at once.

#![allow(clippy::panic, clippy::print_stdout, reason = "a test that prints what it found")]

use futures_util::future::join_all;
use polymq_testkit::containers::{KafkaServer, NatsServer, RabbitmqServer};
use polymq_tests::real::{Place, Series};

#[tokio::test]
async fn every_broker_that_the_tests_need_can_be_had() {
    let starting = Series::ALL.map(|series| async move { (series, Place::shared(series).await) });
    println!("memory          in the process");
    for (series, place) in join_all(starting).await {
        let (found, wanted) = (place.label(), series.to_string());
        let container = place.container().map_or("runs elsewhere", |container| container.name());
        println!("{found:15} {container}");
        assert!(found.starts_with(&wanted), "{found} is not {wanted}");
    }
    RabbitmqServer::shared().await.unwrap_or_else(|error| panic!("{error:?}"));
    KafkaServer::shared().await.unwrap_or_else(|error| panic!("{error:?}"));
    for server in [NatsServer::series("2.10").await, NatsServer::shared().await] {
        let server = server.unwrap_or_else(|error| panic!("{error:?}"));
        let container = server.container().map_or("runs elsewhere", |container| container.name());
        println!("nats {:10} {container}", server.version());
    }
}
