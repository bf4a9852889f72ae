//! The memory broker passes the conformance suite, also without what other brokers lack.
//!
//! `cargo test -p polymq-tests --test conformance -- --nocapture` prints the tables.
//! `CONFORMANCE_CASE=name` runs one case.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::broker::{
    Adapter, Broker, Capability, Connect, Destination, Outcome, Send, Topology,
};
use polymq_core::memory::{MemoryOptions, MemoryServer};
use polymq_core::{App, ChannelName, Message, Namespace, Result};
use polymq_testkit::conformance;
use polymq_testkit::{Fixture, Lifecycle};
use secrecy::SecretString;
use tokio::time::Instant;

/// One memory server.
#[derive(Debug)]
struct Memory {
    name: &'static str,
    server: MemoryServer,
    namespaces: AtomicU32,
}

impl Memory {
    fn new(name: &'static str, lacks: &[Capability]) -> Self {
        let options = MemoryOptions::default().with_lease(LEASE);
        let options = lacks.iter().fold(options, |options, lacking| options.without(*lacking));
        Self { name, server: MemoryServer::new(options), namespaces: AtomicU32::new(0) }
    }
}

/// Short, so that cases that wait for its end are.
const LEASE: Duration = Duration::from_secs(1);

#[async_trait]
impl Fixture for Memory {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn app(&self) -> App {
        App::with(self.server.adapter())
    }

    fn config(&self, _: &Namespace) -> String {
        "[broker]\nurl = 'memory://'\n".to_owned()
    }

    async fn namespace(&self) -> Namespace {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        Namespace::new(format!("case-{number}")).unwrap()
    }

    async fn connect(&self, topology: Topology) -> Result<Arc<dyn Broker>> {
        let url = SecretString::from("memory://");
        let deadline = Instant::now() + Duration::from_secs(5);
        self.server.adapter().connect(Connect::new("memory", vec![url], topology, deadline)).await
    }

    async fn publish_foreign(
        &self,
        topology: &Topology,
        channel: &ChannelName,
        message: Message,
    ) -> Result<()> {
        let broker = self.connect(topology.clone()).await?;
        let send = Send::new(Destination::Channel(channel.clone()), message);
        let deadline = Instant::now() + Duration::from_secs(5);
        for outcome in broker.publish(vec![send], deadline).await {
            Outcome::into_result(outcome)?;
        }
        Ok(())
    }

    fn lifecycle(&self) -> Lifecycle {
        Lifecycle::None("the memory broker lives and ends with the process of the test".to_owned())
    }
}

/// The reviewed list: per fixture, the cases that may be not applicable, and why.
fn not_applicable(fixture: &str) -> Vec<String> {
    type Reviewed = BTreeMap<String, BTreeMap<String, String>>;
    let mut reviewed: Reviewed = toml::from_str(include_str!("../not-applicable.toml")).unwrap();
    reviewed.remove(fixture).unwrap_or_default().into_keys().collect()
}

async fn run(fixture: Memory) {
    if let Ok(case) = std::env::var("CONFORMANCE_CASE") {
        let report = conformance::run_case(&fixture, &case).await.unwrap();
        println!("{report:#?}");
        return;
    }
    let report = conformance::run(&fixture).await;
    println!("{report}");
    let allowed = not_applicable(&report.fixture);
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    report.assert_passed(&allowed);
    for name in allowed {
        let used = report.not_applicable().any(|case| case.name == name);
        assert!(used, "`{name}` applies to {}: take it off the list", report.fixture);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    run(Memory::new("memory", &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_without_atomic_and_ordered_pipelining() {
    let lacks = [Capability::Atomic, Capability::OrderedPipelining];
    run(Memory::new("memory-plain", &lacks)).await;
}
