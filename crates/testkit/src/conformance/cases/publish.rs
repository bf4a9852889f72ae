//! What a publisher is told is true, message by message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use polymq_core::broker::{Destination, Event, Outcome, Send};
use polymq_core::{Error, ErrorKind, Message, Service};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{Readers, Scene, channel, group, queue, soon, subscribe, texts};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "missing-queue",
        missing_queue,
        [],
        "A publish to a queue that is not there is not confirmed, unless health reports it."
    ),
    case!(
        "missing-inbox",
        missing_inbox,
        [],
        "A send to a retry inbox or dead-letter channel that is not there is never lost in silence."
    ),
    case!(
        "partial-batch",
        partial_batch,
        [],
        "In a batch of good and bad sends each has the outcome of its own, in order."
    ),
    case!(
        "publisher-close",
        publisher_close,
        [],
        "20 publishers are closed mid-flight: every publish returns, and what was confirmed arrives."
    ),
];

/// How long a broker that parks what it cannot route may take to report it.
const REPORTED: Duration = Duration::from_secs(5);

/// How many messages are confirmed before the publisher is closed.
const CLOSE_AFTER: u64 = 5_000;

/// How many messages each publisher has: the close comes before most of them.
const EACH: usize = 1_000;

/// How long publishes may take to return once their publisher was closed.
const RETURNED: Duration = Duration::from_secs(5);

/// Publishes to what is not there: refused, or reported.
async fn not_silent(fixture: &dyn Fixture, destination: Destination) -> Result<()> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.connect(vec![queue("absent")?]).await?;
    let mut events = broker.events();
    let send = Send::new(destination, Message::new("x").with_id("m"));
    let outcomes = broker.publish(vec![send], soon()).await;
    if !outcomes.iter().any(Outcome::is_confirmed) {
        return Ok(());
    }
    let reported = timeout(REPORTED, async {
        loop {
            match events.recv().await {
                Some(Event::TopologyLost { .. }) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    });
    ensure!(reported.await.unwrap_or(false), "it was confirmed, and nothing was reported");
    Ok(())
}

async fn missing_queue(fixture: &dyn Fixture) -> Result<Tally> {
    not_silent(fixture, Destination::Channel(channel("absent")?)).await?;
    Ok(Tally::default())
}

async fn missing_inbox(fixture: &dyn Fixture) -> Result<Tally> {
    let absent = channel("absent")?;
    let inbox = Destination::RetryInbox { group: (&absent).into(), channel: absent.clone() };
    not_silent(fixture, inbox).await?;
    not_silent(fixture, Destination::DeadLetter(absent)).await?;
    Ok(Tally::default())
}

async fn partial_batch(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let limit = broker.capabilities(&queue("q")?).limits.max_message_bytes;
    let ledger = Arc::new(Ledger::default());
    let to = Destination::Channel(channel("q")?);
    let mut sends: Vec<Send> =
        texts("m", 4).into_iter().map(|m| Send::new(to.clone(), m)).collect();
    sends[1].message.set_payload(Some(vec![0; limit + 1].into()));
    sends[2].destination =
        Destination::RetryInbox { channel: channel("nowhere")?, group: group("nowhere")? };
    for n in 0..4 {
        ledger.sent(&format!("m-{n}"), None);
    }
    let outcomes = broker.publish(sends, soon()).await;
    ensure!(outcomes.len() == 4, "{} outcomes for 4 sends", outcomes.len());
    for (n, outcome) in outcomes.iter().enumerate() {
        ledger.outcome(&format!("m-{n}"), outcome);
        let good = n == 0 || n == 3;
        ensure!(outcome.is_confirmed() == good, "send {n}: {outcome:?}");
    }
    let kind = outcomes[1].error().map(Error::kind);
    ensure!(kind == Some(ErrorKind::TooLarge), "the oversize one failed as {kind:?}");
    Readers::start([subscribe(&*broker, "q", "q", 10).await?], &ledger).finish(&ledger, 2).await?;
    let tally = ledger.tally();
    ensure!(tally.lost == 0 && tally.unexpected == 0, "{tally}");
    Ok(tally)
}

async fn publisher_close(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let tables = "[channels.q]\nkind = 'queue'\n";
    let running = scene.start(tables, Service::new(())).await?;
    let ledger = Arc::new(Ledger::default());
    let (enough, confirmed) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let mut publishers = JoinSet::new();
    for p in 0..20 {
        let (publisher, ledger) = (running.publisher(), Arc::clone(&ledger));
        let (enough, confirmed) = (Arc::clone(&enough), Arc::clone(&confirmed));
        publishers.spawn(async move {
            for n in 0..EACH {
                let id = format!("p{p}-{n}");
                let message = Message::new(id.clone()).with_id(&id);
                ledger.sent(&id, None);
                let Err(error) = publisher.publish_message("q", message).await else {
                    ledger.confirmed(&id);
                    if confirmed.fetch_add(1, Ordering::Relaxed) == CLOSE_AFTER {
                        enough.notify_one();
                    }
                    continue;
                };
                if error.context().any(|(key, _)| key == "outcome") {
                    ledger.unconfirmed(&id);
                } else {
                    ledger.rejected(&id);
                }
                return;
            }
        });
    }
    // A task of its own gets its turn among the publishers.
    let closing = tokio::spawn(async move {
        enough.notified().await;
        running.drain().await
    });
    let report = closing.await?;
    let returned = async {
        while let Some(done) = publishers.join_next().await {
            done?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let returned = timeout(RETURNED, returned).await;
    returned.context("a publish did not return when its publisher was closed")??;
    let before = ledger.tally();
    let broker = scene.broker(vec![queue("q")?]).await?;
    let consumer = subscribe(&*broker, "q", "q", 500).await?;
    let read = Readers::start([consumer], &ledger);
    read.finish(&ledger, before.confirmed).await?;
    let tally = ledger.tally();
    ensure!(tally.lost == 0 && tally.unexpected == 0 && tally.duplicated == 0, "{tally}; {report}");
    Ok(tally)
}
