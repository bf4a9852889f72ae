//! With a store, a message has one effect within the window, and a replay is not taken for it.

use anyhow::{Result, ensure};
use polymq_core::Message;
use polymq_core::broker::{Destination, Send};
use polymq_core::model::hop;

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{Arrivals, Probe, Scene, channel, publish_one, texts, until};
use crate::ledger::Tally;

pub(super) const CASES: &[Case] = &[
    case!(
        "dedup",
        dedup,
        [],
        "Of messages published several times with one id, each is handled once within the window."
    ),
    case!(
        "dedup-replay",
        dedup_replay,
        [],
        "A replay of a handled message is handled again; a second copy of that replay is not."
    ),
];

const CONFIG: &str = "
[channels.q]
kind = 'queue'
[consumers.handler]
channel = 'q'
dedup = { store = 'memory', window = '10m' }
";

async fn dedup(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let running = scene.start(CONFIG, service).await?;
    for _ in 0..3 {
        probe.publish(&running, "q", texts("m", 50)).await?;
    }
    probe.handled(50).await?;
    until("all copies were dealt with", || {
        running.state("handler").is_ok_and(|s| s.tally.handled + s.tally.duplicates == 150)
    })
    .await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}

async fn dedup_replay(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let running = scene.start(CONFIG, service).await?;
    probe.publish(&running, "q", texts("m", 1)).await?;
    probe.handled(1).await?;
    let to = channel("q")?;
    let inbox = Destination::RetryInbox { group: (&to).into(), channel: to };
    let replay = Message::new("m-0").with_id("m-0").with_header(hop::REPLAY, "1");
    for _ in 0..2 {
        let send = Send::new(inbox.clone(), replay.clone());
        publish_one(&**running.broker_of("q")?, send).await?;
    }
    until("both replays were dealt with", || {
        running.state("handler").is_ok_and(|s| s.tally.handled + s.tally.duplicates == 3)
    })
    .await?;
    ensure!(probe.attempts() == 2, "{} attempts: the replay counts once", probe.attempts());
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(1)
}
