//! Consumers come and go, and nothing is lost.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use polymq_core::broker::Settlement;

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Readers, Scene, note, publish, queue, receive, settle, soon, subscribe, texts, until,
};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "continue-after-close",
        continue_after_close,
        [],
        "5,000 messages arrive across consumers that are closed and reopened; none is lost."
    ),
    case!(
        "concurrent-close",
        concurrent_close,
        [],
        "After 10 consumers were closed at once, the next 50 messages all arrive elsewhere."
    ),
    case!(
        "connection-close",
        connection_close,
        [],
        "What a closed connection's consumers held comes again on another connection."
    ),
];

async fn continue_after_close(fixture: &dyn Fixture) -> Result<Tally> {
    const PREFETCH: usize = 50;
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    for part in texts("m", 5_000).chunks(500) {
        publish(&*broker, &ledger, "q", part.to_vec()).await?;
    }
    let mut closed = 0;
    while ledger.distinct() < 4_000 {
        let consumer = subscribe(&*broker, "q", "q", PREFETCH).await?;
        let target = (ledger.distinct() + 400).min(4_000);
        let readers = Readers::start([Arc::clone(&consumer)], &ledger);
        until("some arrived", || ledger.distinct() >= target).await?;
        consumer.close(soon()).await?;
        readers.closed().await?;
        closed += 1;
    }
    let consumer = subscribe(&*broker, "q", "q", PREFETCH).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 5_000).await?;
    ledger.arrived(closed * PREFETCH as u64)
}

async fn concurrent_close(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    let consumers = try_join_all((0..10).map(|_| subscribe(&*broker, "q", "q", 10))).await?;
    let readers = Readers::start(consumers.iter().map(Arc::clone), &ledger);
    let closing = consumers.iter().map(|consumer| consumer.close(soon()));
    try_join_all(closing).await?;
    readers.closed().await?;
    publish(&*broker, &ledger, "q", texts("m", 50)).await?;
    let last = subscribe(&*broker, "q", "q", 50).await?;
    Readers::start([last], &ledger).finish(&ledger, 50).await?;
    ledger.arrived(0)
}

async fn connection_close(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Ledger::default();
    publish(&*broker, &ledger, "q", texts("m", 10)).await?;
    let consumer = subscribe(&*broker, "q", "q", 5).await?;
    let in_hand = receive(&*consumer, 5).await?;
    note(&ledger, &in_hand);
    consumer.close(soon()).await?;
    broker.close(soon()).await?;
    for outcome in publish(&*broker, &Ledger::default(), "q", texts("late", 1)).await? {
        ensure!(!outcome.is_confirmed(), "a closed connection confirmed");
    }
    let other = scene.broker(vec![queue("q")?]).await?;
    let consumer = subscribe(&*other, "q", "q", 10).await?;
    let all = receive(&*consumer, 10).await?;
    note(&ledger, &all);
    settle(&*consumer, &all, Settlement::Ack).await?;
    ledger.arrived(5)
}
