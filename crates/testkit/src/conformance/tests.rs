//! The suite can fail: each lie of a broker is caught by the case that is there for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::broker::{
    Admin, Broker, BrokerInfo, Capabilities, Capability, ChannelSpec, Confirmation, Consumer,
    ConsumerStatus, Events, Outcome, Send, Settlement, Subscription, Token, Topology, Unit,
};
use polymq_core::memory::MemoryOptions;
use polymq_core::{App, ChannelName, Delivery, Message, Namespace, Result};
use tokio::time::Instant;

use super::{Verdict, run_case};
use crate::{Fixture, Lifecycle, MemoryFixture};

/// What a broker does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Confirms what it refused.
    Confirms,
    /// Acks every tenth delivery instead of handing it out.
    Loses,
    /// Hands out every tenth delivery twice.
    Duplicates,
    /// Hands out each batch backwards.
    Reorders,
    /// Hands out a retry at once.
    Hurries,
    /// Says that every settlement worked.
    Settles,
    /// Takes an empty payload for an absent one.
    Empties,
    /// Has no prefetch.
    Floods,
    /// Never hands out anything.
    Hangs,
    /// Panics when it is published to.
    Panics,
}

#[derive(Debug)]
struct Liar<T: ?Sized> {
    lie: Lie,
    counter: AtomicU64,
    inner: Arc<T>,
}

impl<T: ?Sized> Liar<T> {
    fn new(lie: Lie, inner: Arc<T>) -> Self {
        Self { lie, counter: AtomicU64::new(0), inner }
    }
}

#[async_trait]
impl Fixture for Liar<MemoryFixture> {
    fn name(&self) -> String {
        format!("{:?}", self.lie)
    }

    fn app(&self) -> App {
        self.inner.app()
    }

    fn config(&self, namespace: &Namespace) -> String {
        self.inner.config(namespace)
    }

    async fn namespace(&self) -> Result<Namespace> {
        self.inner.namespace().await
    }

    async fn connect(&self, topology: Topology) -> Result<Arc<dyn Broker>> {
        Ok(Arc::new(Liar::new(self.lie, self.inner.connect(topology).await?)))
    }

    async fn publish_foreign(&self, t: &Topology, c: &ChannelName, m: Message) -> Result<()> {
        self.inner.publish_foreign(t, c, m).await
    }

    fn lifecycle(&self) -> Lifecycle {
        self.inner.lifecycle()
    }
}

#[async_trait]
impl Broker for Liar<dyn Broker> {
    fn info(&self) -> &BrokerInfo {
        self.inner.info()
    }

    fn capabilities(&self, channel: &ChannelSpec) -> Capabilities {
        self.inner.capabilities(channel)
    }

    fn wire_size(&self, message: &Message) -> usize {
        self.inner.wire_size(message)
    }

    async fn publish(&self, mut sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        assert_ne!(self.lie, Lie::Panics, "it panics");
        for send in &mut sends {
            match self.lie {
                Lie::Hurries => send.at = None,
                Lie::Empties if send.message.payload().is_some_and(|p| p.is_empty()) => {
                    send.message.set_payload(None);
                }
                _ => {}
            }
        }
        let mut outcomes = self.inner.publish(sends, deadline).await;
        if self.lie == Lie::Confirms {
            outcomes.fill_with(|| Outcome::Confirmed(Confirmation::default()));
        }
        outcomes
    }

    async fn subscribe(&self, mut s: Subscription, deadline: Instant) -> Result<Arc<dyn Consumer>> {
        if self.lie == Lie::Floods {
            s.prefetch = 1_000;
        }
        Ok(Arc::new(Liar::new(self.lie, self.inner.subscribe(s, deadline).await?)))
    }

    fn events(&self) -> Events {
        self.inner.events()
    }

    fn admin(&self) -> &dyn Admin {
        self.inner.admin()
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.inner.close(deadline).await
    }
}

#[async_trait]
impl Consumer for Liar<dyn Consumer> {
    async fn recv(&self, max: usize) -> Result<Vec<Delivery>> {
        if self.lie == Lie::Hangs {
            return std::future::pending().await;
        }
        let mut handed_out = Vec::new();
        while handed_out.is_empty() {
            for delivery in self.inner.recv(max).await? {
                let tenth = self.counter.fetch_add(1, Ordering::Relaxed) % 10 == 9;
                match self.lie {
                    Lie::Loses if tenth => {
                        let ack = [(delivery.token, Settlement::Ack)];
                        self.inner.settle(&ack, Instant::now()).await;
                        continue;
                    }
                    Lie::Duplicates if tenth => handed_out.push(delivery.clone()),
                    _ => {}
                }
                handed_out.push(delivery);
            }
        }
        if self.lie == Lie::Reorders {
            handed_out.reverse();
        }
        Ok(handed_out)
    }

    async fn settle(&self, s: &[(Token, Settlement)], deadline: Instant) -> Vec<Result<()>> {
        let mut results = self.inner.settle(s, deadline).await;
        if self.lie == Lie::Settles {
            results.fill_with(|| Ok(()));
        }
        results
    }

    async fn extend(&self, tokens: &[Token], deadline: Instant) -> Vec<Result<()>> {
        self.inner.extend(tokens, deadline).await
    }

    async fn commit(&self, units: Vec<Unit>, deadline: Instant) -> Vec<Result<()>> {
        self.inner.commit(units, deadline).await
    }

    fn pause(&self) {
        self.inner.pause();
    }

    fn resume(&self) {
        self.inner.resume();
    }

    fn events(&self) -> Events {
        self.inner.events()
    }

    fn status(&self) -> ConsumerStatus {
        self.inner.status()
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.inner.close(deadline).await
    }
}

fn memory() -> MemoryFixture {
    let options = MemoryOptions::default().with_lease(Duration::from_secs(1));
    MemoryFixture::new("memory", options)
}

/// Runs a case on a lying broker, in virtual time, and says how it failed.
async fn caught(lie: Lie, case: &str) -> String {
    let liar = Liar::new(lie, Arc::new(memory()));
    match run_case(&liar, case).await.unwrap().verdict {
        Verdict::Failed { error } => error,
        other => panic!("`{case}` did not notice that the broker {lie:?}: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_lie_is_caught_by_the_case_that_is_there_for_it() {
    for (lie, case, says) in [
        (Lie::Confirms, "missing-queue", "nothing was reported"),
        (Lie::Confirms, "partial-batch", "send 1"),
        (Lie::Loses, "concurrent-subscribe", "arrived"),
        (Lie::Duplicates, "concurrent-subscribe", "duplicates"),
        (Lie::Reorders, "in-order", "lost their order"),
        (Lie::Hurries, "inbox-delay", "late"),
        (Lie::Settles, "stale-token", "of a settled one"),
        (Lie::Settles, "lease-lost", "the late ack"),
        (Lie::Empties, "empty-and-tombstone", "zero bytes came as"),
        (Lie::Floods, "prefetch-held", "more came than the prefetch"),
    ] {
        let error = caught(lie, case).await;
        assert!(error.contains(says), "{lie:?}, {case}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_case_that_hangs_fails() {
    let error = caught(Lie::Hangs, "publish-subscribe").await;
    assert!(error.contains("0 of 100 came"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_case_that_panics_fails() {
    let error = caught(Lie::Panics, "publish-subscribe").await;
    assert!(error.starts_with("panicked: ") && error.contains("it panics"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_case_is_an_error_that_names_the_others() {
    let error = run_case(&memory(), "publish-subscrib").await.unwrap_err().to_string();
    assert!(error.contains("`publish-subscrib`") && error.contains("concurrent-close"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_lacks_is_not_applicable_in_its_own_words() {
    let poor = MemoryOptions::default().without(Capability::Purge);
    let report = run_case(&MemoryFixture::new("poor", poor), "purge").await.unwrap();
    let Verdict::NotApplicable { reason } = report.verdict else {
        panic!("{report:?}");
    };
    assert_eq!(reason, "no purge: this memory broker was told to lack `purge`");
}

#[tokio::test(start_paused = true)]
async fn the_suite_runs_in_virtual_time_too() {
    for case in ["concurrent-subscribe", "inbox-delay", "lease-lost", "in-order"] {
        let report = run_case(&memory(), case).await.unwrap();
        assert_eq!(report.verdict, Verdict::Passed, "{case}");
    }
}
