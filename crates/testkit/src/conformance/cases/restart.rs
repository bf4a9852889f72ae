//! The broker goes and comes back, and nothing that it confirmed is lost.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use polymq_core::Service;
use tokio::task::JoinSet;

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{Readers, Scene, id_of, queue, subscribe, texts, until};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[case!(
    "reconnect",
    reconnect,
    [Need::Restart],
    "10,000 messages of 100 publishers, the broker stopped at a third and killed at half: none is lost."
)];

const PUBLISHERS: usize = 100;
const EACH: usize = 100;
const CONSUMERS: usize = 10;
const PREFETCH: usize = 50;

async fn reconnect(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let running = scene.start("[channels.q]\nkind = 'queue'\n", Service::new(())).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    let consumers =
        try_join_all((0..CONSUMERS).map(|_| subscribe(&*broker, "q", "q", PREFETCH))).await?;
    let readers = Readers::start(consumers, &ledger);
    let mut publishers = JoinSet::new();
    for p in 0..PUBLISHERS {
        let (publisher, ledger) = (running.publisher(), Arc::clone(&ledger));
        publishers.spawn(async move {
            for message in texts(&format!("p{p}"), EACH) {
                let id = id_of(&message);
                ledger.sent(&id, None);
                // What was not confirmed is sent again under the same id, as a service would.
                while publisher.publish_message("q", message.clone()).await.is_err() {
                    ledger.unconfirmed(&id);
                }
                ledger.confirmed(&id);
            }
        });
    }
    let total = PUBLISHERS * EACH;
    for (at, killed) in [(total / 3, false), (total / 2, true)] {
        until("enough was confirmed", || ledger.tally().confirmed >= at as u64).await?;
        if killed {
            fixture.kill().await?;
        } else {
            fixture.stop().await?;
        }
        fixture.start().await?;
    }
    while let Some(done) = publishers.join_next().await {
        done?;
    }
    readers.finish(&ledger, total as u64).await?;
    let tally = ledger.tally();
    let bound = 2 * (CONSUMERS * PREFETCH + running.config().publish.window) as u64;
    ensure!(tally.lost == 0 && tally.unexpected == 0, "{tally}");
    ensure!(tally.duplicated <= bound, "more than {bound} duplicates for two restarts: {tally}");
    Ok(tally)
}
