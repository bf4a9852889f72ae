//! What is past its time is not handled, and what was acked before handling is not repeated.

use std::time::Duration;

use anyhow::{Result, ensure};
use polymq_core::{Clock, Message, SystemClock};

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{Arrivals, Probe, Scene, read_dead_letters, texts, until};
use crate::ledger::Tally;

pub(super) const CASES: &[Case] = &[
    case!(
        "expired-dropped",
        expired_dropped,
        [],
        "A message past its time-to-live is dropped and counted, never handled."
    ),
    case!(
        "expired-dead-lettered",
        expired_dead_lettered,
        [],
        "A message past its time-to-live is dead-lettered as expired where that is configured."
    ),
    case!(
        "at-most-once",
        at_most_once,
        [],
        "With `ack = \"before\"` each message is tried once; failures are dead-lettered."
    ),
];

/// One message that is past its time, and one that is not.
async fn mixed(fixture: &dyn Fixture, policy: &str) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let tables = format!(
        "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\nexpired = '{policy}'\n"
    );
    let running = scene.start(&tables, service).await?;
    let past = SystemClock.now() - Duration::from_secs(60);
    let stale = Message::new("stale").with_id("stale").with_timestamp(past);
    let stale = stale.with_ttl(Duration::from_secs(10));
    let fresh = Message::new("fresh").with_id("fresh").with_ttl(Duration::from_secs(600));
    running.publisher().publish_message("q", stale).await?;
    probe.publish(&running, "q", vec![fresh]).await?;
    probe.handled(1).await?;
    if policy == "dead-letter" {
        let letter = read_dead_letters(&running, "q-dead", 1).await?.remove(0);
        let reason = letter.headers().get_str("polymq-dead-letter-reason");
        ensure!(reason == Some("expired"), "dead-lettered as {reason:?}");
        ensure!(letter.payload().is_some_and(|p| p == "stale"), "another payload");
    }
    let done = |tally: &polymq_core::pipeline::Tally| tally.expired + tally.dead_letters() == 1;
    until("the stale one was dealt with", || {
        running.state("handler").is_ok_and(|state| done(&state.tally))
    })
    .await?;
    ensure!(probe.of("stale").is_empty(), "what had expired was handled");
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}

async fn expired_dropped(fixture: &dyn Fixture) -> Result<Tally> {
    mixed(fixture, "drop").await
}

async fn expired_dead_lettered(fixture: &dyn Fixture) -> Result<Tally> {
    mixed(fixture, "dead-letter").await
}

async fn at_most_once(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|seen| match seen.id.as_str() {
        "m-3" => Err("never again".into()),
        _ => Ok(()),
    });
    let tables =
        "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\nack = 'before'\n";
    let running = scene.start(tables, service).await?;
    probe.publish(&running, "q", texts("m", 20)).await?;
    probe.handled(19).await?;
    let letters = read_dead_letters(&running, "q-dead", 1).await?;
    ensure!(letters[0].id().is_some_and(|id| *id == "m-3"), "{:?}", letters[0]);
    probe.ledger.received("m-3");
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    ensure!(probe.attempts() == 20, "{} attempts at 20 messages", probe.attempts());
    probe.ledger.arrived(0)
}
