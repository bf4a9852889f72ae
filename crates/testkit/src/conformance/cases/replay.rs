//! History: groups that start early, and groups that are moved.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use polymq_core::broker::{
    Broker, Capability, ChannelSpec, Consumer, Outcome, Settlement, StartPosition,
};
use polymq_core::{Clock, ErrorKind, Position, SystemClock, Timestamp};
use tokio::time::{sleep, timeout};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, QUIET, Scene, channel, group, id_of, keyed, note, publish, receive, settle, soon,
    subscribe, texts, topic,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

const NEEDS: [Need; 3] =
    [Need::Has(Capability::Topic), Need::Has(Capability::Replay), Need::Has(Capability::Retention)];

pub(super) const CASES: &[Case] = &[
    case!(
        "late-subscriber",
        late_subscriber,
        [NEEDS[0], NEEDS[1], NEEDS[2]],
        "A group that starts at the earliest position gets what was published before it came."
    ),
    case!(
        "latest-subscriber",
        latest_subscriber,
        [NEEDS[0]],
        "A group that starts at the latest position gets what is published from then on."
    ),
    case!(
        "seek-earliest",
        seek_earliest,
        [NEEDS[0], NEEDS[1], NEEDS[2]],
        "A group that is moved to the earliest position gets everything again."
    ),
    case!(
        "seek-timestamp",
        seek_timestamp,
        [NEEDS[0], NEEDS[1], NEEDS[2]],
        "A group that is moved to a moment gets what was published from then on."
    ),
    case!(
        "seek-position",
        seek_position,
        [NEEDS[0], NEEDS[1], NEEDS[2]],
        "A group that is moved to a position gets that message and later ones; a position that never was is an error."
    ),
];

/// A topic with history, and one group.
fn history(group: &str, start: StartPosition) -> Result<ChannelSpec> {
    let mut spec = topic("t", &[group])?;
    spec.retention = Some(Duration::from_secs(3600));
    for group in &mut spec.groups {
        group.start = start;
    }
    Ok(spec)
}

async fn late_subscriber(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![history("early", StartPosition::Latest)?]).await?;
    let ledger = Ledger::default();
    publish(&*broker, &ledger, "t", texts("m", 50)).await?;
    let first = subscribe(&*broker, "t", "early", 50).await?;
    let handled = receive(&*first, 50).await?;
    settle(&*first, &handled, Settlement::Ack).await?;
    let broker = scene.broker(vec![history("late", StartPosition::Earliest)?]).await?;
    publish(&*broker, &ledger, "t", texts("n", 10)).await?;
    let late = subscribe(&*broker, "t", "late", 60).await?;
    let got = receive(&*late, 60).await?;
    note(&ledger, &got);
    settle(&*late, &got, Settlement::Ack).await?;
    ledger.arrived(0)
}

async fn latest_subscriber(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![topic("t", &["early"])?]).await?;
    publish(&*broker, &Ledger::default(), "t", texts("before", 20)).await?;
    let broker = scene.broker(vec![topic("t", &["late"])?]).await?;
    let ledger = Ledger::default();
    publish(&*broker, &ledger, "t", texts("m", 20)).await?;
    let late = subscribe(&*broker, "t", "late", 60).await?;
    let got = receive(&*late, 20).await?;
    note(&ledger, &got);
    settle(&*late, &got, Settlement::Ack).await?;
    ensure!(timeout(QUIET, late.recv(1)).await.is_err(), "more came than was published since");
    ledger.arrived(0)
}

/// Publishes ten messages, notes the moment, publishes ten more, and handles all of them. They have
/// one key, so that a position is one of all of them. Returns what is needed to move the group.
async fn handled(
    scene: &Scene<'_>,
    ledger: &Ledger,
) -> Result<(Arc<dyn Broker>, Timestamp, Vec<Outcome>)> {
    let broker = scene.broker(vec![history("g", StartPosition::Latest)?]).await?;
    let mut outcomes = publish(&*broker, ledger, "t", keyed("a", 10, 1)).await?;
    sleep(Duration::from_millis(20)).await;
    let between = SystemClock.now();
    outcomes.extend(publish(&*broker, ledger, "t", keyed("b", 10, 1)).await?);
    let consumer = subscribe(&*broker, "t", "g", 20).await?;
    let got = receive(&*consumer, 20).await?;
    settle(&*consumer, &got, Settlement::Ack).await?;
    note(ledger, &got);
    consumer.close(soon()).await?;
    Ok((broker, between, outcomes))
}

/// Moves the group and checks what comes: exactly these ids.
async fn moved(broker: &dyn Broker, to: StartPosition, wanted: &[String]) -> Result<()> {
    broker.admin().seek(&channel("t")?, &group("g")?, to).await.context("seek")?;
    let consumer: Arc<dyn Consumer> = subscribe(broker, "t", "g", 20).await?;
    let got = receive(&*consumer, wanted.len()).await?;
    settle(&*consumer, &got, Settlement::Ack).await?;
    let mut ids: Vec<String> = got.iter().map(|d| id_of(&d.message)).collect();
    ids.sort_unstable();
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    ensure!(ids == wanted, "{ids:?} came, not {wanted:?}");
    ensure!(timeout(QUIET, consumer.recv(1)).await.is_err(), "more came than {wanted:?}");
    Ok(())
}

fn ids(prefix: &str, from: usize) -> Vec<String> {
    (from..10).map(|n| format!("{prefix}-{n}")).collect()
}

async fn seek_earliest(fixture: &dyn Fixture) -> Result<Tally> {
    let (scene, ledger) = (Scene::new(fixture).await?, Ledger::default());
    let (broker, ..) = handled(&scene, &ledger).await?;
    moved(&*broker, StartPosition::Earliest, &[ids("a", 0), ids("b", 0)].concat()).await?;
    ledger.arrived(0)
}

async fn seek_timestamp(fixture: &dyn Fixture) -> Result<Tally> {
    let (scene, ledger) = (Scene::new(fixture).await?, Ledger::default());
    let (broker, between, _) = handled(&scene, &ledger).await?;
    moved(&*broker, StartPosition::Timestamp(between), &ids("b", 0)).await?;
    ledger.arrived(0)
}

async fn seek_position(fixture: &dyn Fixture) -> Result<Tally> {
    let (scene, ledger) = (Scene::new(fixture).await?, Ledger::default());
    let (broker, _, outcomes) = handled(&scene, &ledger).await?;
    let position = match &outcomes[15] {
        Outcome::Confirmed(confirmation) => confirmation.position.context("no position")?,
        other => anyhow::bail!("{other:?}"),
    };
    let never = Position { offset: position.offset + 1_000_000, ..position };
    let (t, g) = (channel("t")?, group("g")?);
    let refused = broker.admin().seek(&t, &g, StartPosition::Position(never)).await;
    let kind = refused.err().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::NotFound), "a position that never was: {kind:?}");
    moved(&*broker, StartPosition::Position(position), &ids("b", 5)).await?;
    ledger.arrived(0)
}
