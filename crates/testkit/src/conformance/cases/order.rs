//! Messages of one key keep their order, also when something goes wrong with one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use polymq_core::broker::{Capability, Consumer, Settlement};
use polymq_core::{Context, HandlerError, Message, Service};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, PATIENCE, Probe, Readers, Scene, keyed, note, ordered_queue, publish, receive,
    settle, soon, subscribe, until,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

const ORDER: Need = Need::Has(Capability::OrderByKey);

pub(super) const CASES: &[Case] = &[
    case!(
        "in-order",
        in_order,
        [ORDER],
        "1,000 messages of 16 keys reach 10 consumers in the order of each key."
    ),
    case!(
        "one-at-a-time",
        one_at_a_time,
        [ORDER],
        "On an ordered channel no message of a key is started before the one before is settled."
    ),
    case!(
        "order-across-release",
        order_across_release,
        [ORDER],
        "Messages that are released come again before later ones of their key."
    ),
    case!(
        "order-across-crash",
        order_across_crash,
        [ORDER],
        "What a consumer that vanished had in hand comes again before later messages of its keys."
    ),
    case!(
        "order-across-retry",
        order_across_retry,
        [ORDER],
        "A message that is retried holds up its key and only its key."
    ),
    case!(
        "order-across-drain",
        order_across_drain,
        [ORDER],
        "A drain while a key waits for a retry gives it back; the next app handles it in order."
    ),
    case!(
        "order-of-publishing",
        order_of_publishing,
        [ORDER],
        "What one task publishes with a key, one by one or in batches, is handled in that order."
    ),
];

async fn in_order(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![ordered_queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    let consumers = try_join_all((0..10).map(|_| subscribe(&*broker, "q", "q", 32))).await?;
    let readers = Readers::start(consumers, &ledger);
    // One batch holds each key once: an adapter may lack ordered pipelining.
    for part in keyed("m", 1_000, 16).chunks(16) {
        publish(&*broker, &ledger, "q", part.to_vec()).await?;
    }
    readers.finish(&ledger, 1_000).await?;
    ledger.in_order(0)
}

const CONFIG: &str = "
[channels.q]
kind = 'queue'
order_by = 'key'
[consumers.handler]
channel = 'q'
retry = { immediate = 0, delayed = 3, backoff = 'constant', base = '500ms', jitter = 'none' }
";

#[derive(Debug, Default)]
struct Keys {
    running: Mutex<HashMap<Vec<u8>, usize>>,
    overlaps: Mutex<usize>,
    ledger: Ledger,
}

async fn one_at_a_time(fixture: &dyn Fixture) -> Result<Tally> {
    async fn handle(message: Message, ctx: Context<Arc<Keys>>) -> Result<(), HandlerError> {
        let (keys, key) = (ctx.state(), message.key().map(|k| k.to_vec()).unwrap_or_default());
        let count = |by: fn(usize) -> usize| {
            let mut running = keys.running.lock().unwrap_or_else(|e| e.into_inner());
            let running = running.entry(key.clone()).or_default();
            *running = by(*running);
            *running
        };
        if count(|n| n + 1) > 1 {
            *keys.overlaps.lock().unwrap_or_else(|e| e.into_inner()) += 1;
        }
        sleep(Duration::from_millis(2)).await;
        keys.ledger.received(ctx.id().as_str());
        count(|n| n - 1);
        Ok(())
    }
    let scene = Scene::new(fixture).await?;
    let keys = Arc::<Keys>::default();
    let service = Service::new(Arc::clone(&keys)).on("handler", handle);
    let running = scene.start(CONFIG, service).await?;
    let messages = keyed("m", 200, 8);
    let ids: Vec<String> = (0..200).map(|n| format!("m-{n}")).collect();
    for (id, message) in ids.iter().zip(&messages) {
        keys.ledger.sent(id, message.key().map(AsRef::as_ref));
    }
    let outcomes = running.publisher().publish_all("q", messages).await?;
    for (id, outcome) in ids.iter().zip(&outcomes) {
        keys.ledger.outcome(id, outcome);
    }
    until("all were handled", || keys.ledger.distinct() == 200).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    let overlaps = *keys.overlaps.lock().unwrap_or_else(|e| e.into_inner());
    ensure!(overlaps == 0, "{overlaps} messages began while one of their key ran");
    keys.ledger.in_order(0)
}

async fn order_across_release(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![ordered_queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    for part in keyed("m", 160, 8).chunks(8) {
        publish(&*broker, &ledger, "q", part.to_vec()).await?;
    }
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let consumer = subscribe(&*broker, "q", "q", 16).await?;
        let ledger = Arc::clone(&ledger);
        readers.spawn(release_some(consumer, ledger));
    }
    tokio::select! {
        settled = until("all were settled", || ledger.distinct() == 160) => {
            settled.with_context(|| ledger.tally().to_string())?;
        }
        Some(stopped) = readers.join_next() => {
            stopped?.with_context(|| ledger.tally().to_string())?;
        }
    }
    readers.shutdown().await;
    ledger.in_order(0)
}

/// Acks every third batch's first half and releases the rest, later ones of a key with it.
async fn release_some(consumer: Arc<dyn Consumer>, ledger: Arc<Ledger>) -> Result<()> {
    let mut turn = 0;
    loop {
        let batch = timeout(PATIENCE, consumer.recv(8)).await??;
        turn += 1;
        let keep = if turn % 3 == 0 { batch.len() / 2 } else { batch.len() };
        // The first ones: what is released is later than what is acked, whatever its key.
        let (acks, releases) = batch.split_at(keep);
        // Entered first: with the ack, the key's next message is anybody's.
        note(&ledger, acks);
        settle(&*consumer, acks, Settlement::Ack).await?;
        let releases: Vec<_> = releases.iter().map(|d| (d.token, Settlement::Release)).collect();
        consumer.settle(&releases, soon()).await;
    }
}

async fn order_across_crash(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![ordered_queue("q")?]).await?;
    let ledger = Ledger::default();
    for part in keyed("m", 60, 4).chunks(4) {
        publish(&*broker, &ledger, "q", part.to_vec()).await?;
    }
    let at_risk = scene.limits().await?.max_uncommitted as u64;
    // After a third crash without progress a log hands out one at a time.
    let crashes = if at_risk > 0 { 2 } else { 3 };
    for _ in 0..crashes {
        let vanishing = subscribe(&*broker, "q", "q", 20).await?;
        let in_hand = receive(&*vanishing, 4).await?;
        // One of them is settled before the end, whichever keys the others have.
        settle(&*vanishing, &in_hand[..1], Settlement::Ack).await?;
        note(&ledger, &in_hand[..1]);
    }
    let heir = subscribe(&*broker, "q", "q", 60).await?;
    while ledger.distinct() < 60 {
        let batch = receive(&*heir, 1).await?;
        note(&ledger, &batch);
        settle(&*heir, &batch, Settlement::Ack).await?;
    }
    // What each of them acked, where acks are committed later.
    ledger.in_order(at_risk.min(crashes))
}

async fn order_across_retry(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|seen| match (seen.id.as_str(), seen.attempt) {
        ("m-0", 1) => Err("not yet".into()),
        _ => Ok(()),
    });
    // Long enough for the whole other key to be published and handled meanwhile.
    let running = scene.start(&CONFIG.replace("500ms", "2s"), service).await?;
    probe.publish(&running, "q", keyed("m", 40, 2)).await?;
    probe.handled(40).await?;
    let first_of_key = probe.of("m-0");
    ensure!(first_of_key.len() == 2, "{} attempts at the one that failed", first_of_key.len());
    let waited = first_of_key[1].at - first_of_key[0].at;
    ensure!(waited >= Duration::from_secs(2), "retried after {waited:?}, not 2 s");
    let others = (1..40).step_by(2).map(|n| probe.of(&format!("m-{n}")));
    for other in others {
        ensure!(other[0].at < first_of_key[1].at, "another key waited: {:?}", other[0].id);
    }
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.in_order(0)
}

async fn order_across_drain(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (failing, first) = Probe::service(|seen| match seen.id.as_str() {
        "m-0" => Err("not here".into()),
        _ => Ok(()),
    });
    let running = scene.start(&CONFIG.replace("500ms", "60s"), first).await?;
    failing.publish(&running, "q", keyed("m", 40, 2)).await?;
    until("the other key was handled", || failing.ledger.distinct() == 20).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    let (rest, second) = Probe::service(|_| Ok(()));
    for n in 0..40 {
        let id = format!("m-{n}");
        rest.ledger.sent(&id, Some(format!("k{}", n % 2).as_bytes()));
        rest.ledger.confirmed(&id);
        if n % 2 == 1 {
            rest.ledger.received(&id);
        }
    }
    let running = scene.start(&CONFIG.replace("500ms", "60s"), second).await?;
    rest.handled(40).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    // A log may bring what was handled behind something that wasn't.
    rest.ledger.in_order(scene.limits().await?.max_uncommitted.min(20) as u64)
}

async fn order_of_publishing(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let running = scene.start(CONFIG, service).await?;
    let mut messages = keyed("m", 300, 4).into_iter();
    for _ in 0..5 {
        for message in messages.by_ref().take(10) {
            probe.publish(&running, "q", vec![message]).await?;
        }
        probe.publish(&running, "q", messages.by_ref().take(50).collect()).await?;
    }
    probe.handled(300).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.in_order(0)
}
