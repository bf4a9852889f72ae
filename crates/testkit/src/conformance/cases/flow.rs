//! Messages get through, many at a time.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use polymq_core::ErrorKind;
use polymq_core::broker::Settlement;
use tokio::task::JoinSet;

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Readers, Scene, id_of, publish, queue, receive, settle, soon, subscribe, texts,
};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "publish-subscribe",
        publish_subscribe,
        [],
        "100 messages arrive with payload and headers intact, and a closed consumer says so."
    ),
    case!(
        "concurrent-subscribe",
        concurrent_subscribe,
        [],
        "5,000 messages of 50 publishers all arrive at 50 consumers, each once."
    ),
    case!(
        "many-channels",
        many_channels,
        [],
        "20 channels carry 100 messages each at the same time, complete and apart."
    ),
];

async fn publish_subscribe(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Ledger::default();
    let messages: Vec<_> = texts("m", 100)
        .into_iter()
        .enumerate()
        .map(|(n, message)| message.with_header("n", n.to_string()).with_type("text"))
        .collect();
    publish(&*broker, &ledger, "q", messages.clone()).await?;
    let consumer = subscribe(&*broker, "q", "q", 100).await?;
    for delivery in receive(&*consumer, 100).await? {
        let got = &delivery.message;
        let id = id_of(got);
        ledger.received(&id);
        let sent = messages.iter().find(|m| m.id() == got.id());
        ensure!(sent.is_some_and(|m| m.payload() == got.payload()), "{id}: another payload");
        ensure!(
            sent.is_some_and(|m| m.headers().get("n") == got.headers().get("n")),
            "{id}: other headers"
        );
        ensure!(got.message_type() == Some("text"), "{id}: another type");
        settle(&*consumer, &[delivery], Settlement::Ack).await?;
    }
    consumer.close(soon()).await?;
    let closed = consumer.recv(1).await.err().map(|e| e.kind());
    ensure!(closed == Some(ErrorKind::Closed), "recv after close: {closed:?}");
    ledger.arrived(0)
}

async fn concurrent_subscribe(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    let consumers = try_join_all((0..50).map(|_| subscribe(&*broker, "q", "q", 20))).await?;
    let readers = Readers::start(consumers, &ledger);
    let mut publishers = JoinSet::new();
    for n in 0..50 {
        let (broker, ledger) = (Arc::clone(&broker), Arc::clone(&ledger));
        publishers.spawn(async move {
            for part in texts(&format!("p{n}"), 100).chunks(10) {
                publish(&*broker, &ledger, "q", part.to_vec()).await?;
            }
            Ok(())
        });
    }
    while let Some(published) = publishers.join_next().await {
        published?.map_err(|e: anyhow::Error| e.context("publisher"))?;
    }
    readers.finish(&ledger, 5_000).await?;
    ledger.arrived(0)
}

async fn many_channels(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let names: Vec<String> = (0..20).map(|n| format!("q{n}")).collect();
    let channels: Result<Vec<_>> = names.iter().map(|name| queue(name)).collect();
    let broker = scene.broker(channels?).await?;
    let run = |name: String| {
        let broker = &*broker;
        async move {
            let ledger = Arc::new(Ledger::default());
            let readers = Readers::start([subscribe(broker, &name, &name, 50).await?], &ledger);
            for part in texts(&name, 100).chunks(20) {
                publish(broker, &ledger, &name, part.to_vec()).await?;
            }
            readers.finish(&ledger, 100).await?;
            ledger.arrived(0)
        }
    };
    Ok(try_join_all(names.into_iter().map(run)).await?.into_iter().sum())
}
