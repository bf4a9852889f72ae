//! The operator's side: depth, browse, remove, purge, ping.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use polymq_core::broker::{
    Admin, Capability, ChannelSpec, Depth, Destination, Send, Settlement, Source, StartPosition,
};
use polymq_core::{Clock, ErrorKind, Message, SystemClock};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Readers, Scene, channel, group, id_of, keyed, publish, publish_one, queue, receive,
    settle, soon, subscribe, texts,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "depth",
        depth,
        [Need::Has(Capability::DelayedRetry)],
        "Depth tells what is ready, and truly what it tells of what is in flight and delayed; of a source \
         that is not there it is an error."
    ),
    case!(
        "browse",
        browse,
        [Need::Has(Capability::Browse)],
        "Browsing shows what waits, in order and whole, and consumes nothing."
    ),
    case!(
        "browse-remove",
        browse_remove,
        [Need::Has(Capability::Browse), Need::Has(Capability::BrowseRemove)],
        "A peeked dead letter can be removed, and no other goes with it; one that has gone is an error."
    ),
    case!(
        "purge",
        purge,
        [Need::Has(Capability::Purge)],
        "A purge deletes what waits, says how much, and leaves what is in flight."
    ),
    case!("ping", ping, [], "A ping is a round trip; on a closed connection it is an error."),
];

fn source() -> Result<Source> {
    Ok(Source::Group { channel: channel("q")?, group: group("q")? })
}

/// On a log, what is in flight is not told from what is ready: both are its lag.
async fn expect_depth(
    (admin, is_log): (&dyn Admin, bool),
    source: &Source,
    ready: u64,
    hand: u64,
    late: u64,
) -> Result<()> {
    let mut last = Depth::default();
    for _ in 0..200 {
        last = admin.depth(source).await?;
        let as_told = |told: Option<u64>, expected| told.is_none_or(|told| told == expected);
        let lag = if is_log { ready + hand } else { ready };
        if last.ready == lag && as_told(last.in_flight, hand) && as_told(last.delayed, late) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    anyhow::bail!("{source}: {last:?}, not {ready} ready, {hand} in flight, {late} delayed")
}

async fn depth(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    let (admin, q) = (broker.admin(), channel("q")?);
    let seen = (admin, scene.limits().await?.max_uncommitted > 0);
    let inbox = Source::RetryInbox { channel: q.clone(), group: (&q).into() };
    expect_depth(seen, &source()?, 0, 0, 0).await?;
    publish(&*broker, &ledger, "q", texts("m", 10)).await?;
    let destination = Destination::RetryInbox { channel: q.clone(), group: (&q).into() };
    let mut send = Send::new(destination, Message::new("late").with_id("late"));
    send.at = Some(SystemClock.now() + Duration::from_secs(600));
    publish_one(&*broker, send).await?;
    expect_depth(seen, &source()?, 10, 0, 0).await?;
    expect_depth(seen, &inbox, 0, 0, 1).await?;
    let consumer = subscribe(&*broker, "q", "q", 4).await?;
    let got = receive(&*consumer, 4).await?;
    expect_depth(seen, &source()?, 6, 4, 0).await?;
    settle(&*consumer, &got, Settlement::Release).await?;
    let absent = Source::Group { channel: channel("absent")?, group: group("absent")? };
    let kind = admin.depth(&absent).await.err().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::NotFound), "an absent source: {kind:?}");
    Readers::start([Arc::clone(&consumer)], &ledger).finish(&ledger, 10).await?;
    consumer.close(soon()).await?;
    expect_depth(seen, &source()?, 0, 0, 0).await?;
    expect_depth(seen, &inbox, 0, 0, 1).await?;
    ledger.arrived(0)
}

async fn browse(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    // Of one key: in one partition, where there are some.
    let messages = keyed("m", 25, 1);
    publish(&*broker, &ledger, "q", messages.clone()).await?;
    for _ in 0..2 {
        let mut look = broker.admin().browse(&source()?, StartPosition::Earliest).await?;
        let mut peeked = Vec::new();
        loop {
            let part = look.next(10).await?;
            if part.is_empty() {
                break;
            }
            peeked.extend(part);
        }
        look.close().await?;
        let same = peeked
            .iter()
            .zip(&messages)
            .all(|(p, m)| (p.message.id(), p.message.payload()) == (m.id(), m.payload()));
        ensure!(peeked.len() == 25 && same, "{} peeked: {peeked:?}", peeked.len());
    }
    expect_depth((broker.admin(), false), &source()?, 25, 0, 0).await?;
    let consumer = subscribe(&*broker, "q", "q", 25).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 25).await?;
    ledger.arrived(0)
}

async fn browse_remove(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![ChannelSpec::dead_letter(channel("q")?)]).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &ledger, "q", texts("m", 10)).await?;
    let dead_letters = Source::DeadLetter(channel("q")?);
    let mut look = broker.admin().browse(&dead_letters, StartPosition::Earliest).await?;
    let peeked = look.next(10).await?;
    let chosen: Vec<_> = peeked.iter().filter(|p| id_of(&p.message).ends_with('3')).collect();
    ensure!(chosen.len() == 1, "{} of 10 peeked end in 3", chosen.len());
    let handle = chosen[0].handle.clone();
    for removed in look.remove(std::slice::from_ref(&handle)).await {
        removed?;
    }
    ledger.received("m-3");
    for gone in look.remove(&[handle]).await {
        let kind = gone.err().map(|error| error.kind());
        ensure!(kind == Some(ErrorKind::NotFound), "removed a second time: {kind:?}");
    }
    look.close().await?;
    let consumer = subscribe(&*broker, "q", "q", 10).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 10).await?;
    ledger.arrived(0)
}

async fn purge(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &Ledger::default(), "q", texts("purged", 20)).await?;
    let mut consumer = subscribe(&*broker, "q", "q", 5).await?;
    let in_hand = receive(&*consumer, 5).await?;
    let purged = broker.admin().purge(&source()?).await;
    settle(&*consumer, &in_hand, Settlement::Ack).await?;
    let purged = match purged {
        // A log moves a group on only while nobody consumes.
        Err(error) if error.kind() == ErrorKind::TopologyMismatch => {
            consumer.close(soon()).await?;
            let purged = broker.admin().purge(&source()?).await;
            consumer = subscribe(&*broker, "q", "q", 5).await?;
            purged
        }
        purged => purged,
    }?;
    ensure!(purged == 15, "{purged} were purged, not the 15 that waited");
    publish(&*broker, &ledger, "q", texts("m", 10)).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 10).await?;
    ledger.arrived(0)
}

async fn ping(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    broker.admin().ping().await?;
    broker.close(soon()).await?;
    let kind = broker.admin().ping().await.err().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::Closed), "a closed connection: {kind:?}");
    Ok(Tally::default())
}
