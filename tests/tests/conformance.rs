//! Every broker passes the conformance suite; the one in memory also without what others lack.
//!
//! `cargo test -p polymq-tests --test conformance -- --nocapture` prints the tables; `cargo xtask
//! test` collects them from the folder where this leaves them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that prints its table")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use polymq_core::broker::Capability;
use polymq_core::memory::MemoryOptions;
use polymq_testkit::{Fixture, KafkaFixture, MemoryFixture, RabbitmqFixture, conformance};

/// The reviewed list: the cases that may be not applicable on a fixture, or on all versions of it.
fn reviewed(fixture: &str) -> Vec<String> {
    type List = BTreeMap<String, BTreeMap<String, String>>;
    let list: List = toml::from_str(include_str!("../not-applicable.toml")).unwrap();
    let product = fixture.split(' ').next().unwrap_or_default();
    let tables = list.into_iter().filter(|(name, _)| name == fixture || name == product);
    tables.flat_map(|(_, cases)| cases.into_keys()).collect()
}

/// A lease that is short enough to wait for its end.
fn options() -> MemoryOptions {
    MemoryOptions::default().with_lease(Duration::from_secs(1))
}

async fn passes(fixture: &dyn Fixture) {
    let report = conformance::run(fixture).await;
    println!("{report}");
    save(&report.fixture, &report.to_string());
    let reviewed = reviewed(&report.fixture);
    let reviewed: Vec<&str> = reviewed.iter().map(String::as_str).collect();
    report.assert_passed(&reviewed);
    for name in reviewed {
        let used = report.not_applicable().any(|case| case.name == name);
        assert!(used, "`{name}` applies to {}: take it off the list", report.fixture);
    }
}

fn save(fixture: &str, table: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{fixture}.txt")), table).unwrap();
}

async fn rabbitmq_passes(series: &str) {
    let fixture = RabbitmqFixture::start(series).await.unwrap();
    passes(&fixture).await;
    fixture.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_4_3_conforms() {
    rabbitmq_passes("4.3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_4_0_conforms() {
    rabbitmq_passes("4.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_4_2_conforms() {
    let fixture = KafkaFixture::start("4.2").await.unwrap();
    passes(&fixture).await;
    fixture.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_broker_conforms() {
    passes(&MemoryFixture::new("memory", options())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_broker_conforms_without_atomic_and_ordered_pipelining() {
    let plain = options().without(Capability::Atomic).without(Capability::OrderedPipelining);
    passes(&MemoryFixture::new("memory-plain", plain)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_broker_conforms_with_a_ceiling_on_delays() {
    let ceiling = options().with_max_delay(Duration::from_millis(150));
    passes(&MemoryFixture::new("memory-ceiling", ceiling)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "stress: the whole suite ten times at once, on request"]
async fn the_memory_broker_conforms_under_stress() {
    let patient = options().with_lease(Duration::from_secs(4));
    let fixture = MemoryFixture::new("memory", patient);
    join_all((0..10).map(|_| passes(&fixture))).await;
}
