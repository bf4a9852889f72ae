//! Acks and releases mean what they say, for the delivery that they name and no other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use polymq_core::ErrorKind;
use polymq_core::broker::{Consumer, Settlement, Token};
use tokio::time::timeout;

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, PATIENCE, QUIET, Readers, Scene, note, publish, queue, receive, settle, soon,
    subscribe, texts,
};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "stale-token",
        stale_token,
        [],
        "Settling twice, or with another consumer's token, is an error and never acks a message."
    ),
    case!(
        "prefetch-held",
        prefetch_held,
        [],
        "A consumer never has more deliveries in hand than its prefetch."
    ),
    case!(
        "pause-resume",
        pause_resume,
        [],
        "A paused consumer gets nothing new and keeps what it has; resumed, it goes on."
    ),
    case!(
        "recv-cancelled",
        recv_cancelled,
        [],
        "A `recv` that is dropped while it waits loses nothing."
    ),
    case!(
        "continue-after-errors",
        continue_after_errors,
        [],
        "After 3 consumers released 100 deliveries each, everything can still be consumed."
    ),
];

async fn stale_kind(consumer: &dyn Consumer, token: Token, how: Settlement) -> Option<ErrorKind> {
    let mut results = consumer.settle(&[(token, how)], soon()).await;
    results.pop().and_then(|result| result.err().map(|error| error.kind()))
}

async fn stale_token(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    // So many that both get some, in whatever way they share.
    publish(&*broker, &ledger, "q", texts("m", 60)).await?;
    let first = subscribe(&*broker, "q", "q", 1).await?;
    let second = subscribe(&*broker, "q", "q", 1).await?;
    let settled = receive(&*first, 1).await?;
    note(&ledger, &settled);
    settle(&*first, &settled, Settlement::Ack).await?;
    let in_hand = receive(&*first, 1).await?;
    let others = receive(&*second, 1).await?;
    for how in [Settlement::Ack, Settlement::Release] {
        let again = stale_kind(&*first, settled[0].token, how).await;
        ensure!(again == Some(ErrorKind::StaleToken), "{how:?} of a settled one: {again:?}");
        let foreign = stale_kind(&*second, in_hand[0].token, how).await;
        ensure!(foreign == Some(ErrorKind::StaleToken), "{how:?} of another's: {foreign:?}");
    }
    // Both are still unsettled: they come again.
    settle(&*first, &in_hand, Settlement::Release).await?;
    settle(&*second, &others, Settlement::Release).await?;
    Readers::start([first, second], &ledger).finish(&ledger, 60).await?;
    ledger.arrived(0)
}

async fn prefetch_held(fixture: &dyn Fixture) -> Result<Tally> {
    const PREFETCH: usize = 10;
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &ledger, "q", texts("m", 100)).await?;
    let consumer = subscribe(&*broker, "q", "q", PREFETCH).await?;
    let mut in_hand = receive(&*consumer, PREFETCH).await?;
    for _ in 0..5 {
        let more = timeout(QUIET / 3, consumer.recv(PREFETCH)).await;
        ensure!(more.is_err(), "more came than the prefetch: {more:?}");
        ensure!(consumer.status().in_flight == PREFETCH, "{:?}", consumer.status());
        let done: Vec<_> = in_hand.drain(..3).collect();
        note(&ledger, &done);
        settle(&*consumer, &done, Settlement::Ack).await?;
        in_hand.extend(receive(&*consumer, 3).await?);
    }
    settle(&*consumer, &in_hand, Settlement::Release).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 100).await?;
    ledger.arrived(0)
}

async fn pause_resume(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &ledger, "q", texts("m", 10)).await?;
    let consumer = subscribe(&*broker, "q", "q", 10).await?;
    let in_hand = receive(&*consumer, 1).await?;
    consumer.pause();
    consumer.pause();
    ensure!(consumer.status().paused, "{:?}", consumer.status());
    ensure!(timeout(QUIET, consumer.recv(10)).await.is_err(), "it got something while paused");
    note(&ledger, &in_hand);
    settle(&*consumer, &in_hand, Settlement::Ack).await?;
    consumer.resume();
    ensure!(!consumer.status().paused, "{:?}", consumer.status());
    Readers::start([consumer], &ledger).finish(&ledger, 10).await?;
    ledger.arrived(0)
}

async fn recv_cancelled(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Ledger::default();
    let consumer = subscribe(&*broker, "q", "q", 100).await?;
    let publishing = async {
        for part in texts("m", 100).chunks(5) {
            publish(&*broker, &ledger, "q", part.to_vec()).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    let reading = async {
        while ledger.distinct() < 100 {
            let Ok(batch) = timeout(Duration::from_micros(500), consumer.recv(3)).await else {
                continue;
            };
            let batch = batch?;
            note(&ledger, &batch);
            settle(&*consumer, &batch, Settlement::Ack).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let both = async { tokio::try_join!(publishing, reading) };
    timeout(PATIENCE, both)
        .await
        .map_err(|_| anyhow::anyhow!("some never came: {}", ledger.tally()))??;
    ledger.arrived(0)
}

async fn continue_after_errors(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &ledger, "q", texts("m", 50)).await?;
    for _ in 0..3 {
        let consumer = subscribe(&*broker, "q", "q", 10).await?;
        for _ in 0..10 {
            let failed = receive(&*consumer, 10).await?;
            settle(&*consumer, &failed, Settlement::Release).await?;
        }
        consumer.close(soon()).await?;
    }
    let consumer = subscribe(&*broker, "q", "q", 50).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 50).await?;
    ledger.arrived(0)
}
