//! A delivery is its consumer's for as long as its lease is renewed, and not longer.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use polymq_core::ErrorKind;
use polymq_core::broker::{Broker, Settlement};
use polymq_core::{Context, Delivery, HandlerError, Message, Service};
use std::sync::Arc;
use tokio::time::{sleep, timeout};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Probe, Scene, note, publish, queue, receive, settle, soon, subscribe, texts,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "lease-extended",
        lease_extended,
        [Need::Lease],
        "A handler that outlives the lease several times is not run a second time."
    ),
    case!(
        "lease-renewed",
        lease_renewed,
        [Need::Lease],
        "A delivery whose lease is renewed stays its consumer's, and can then be acked."
    ),
    case!(
        "lease-lost",
        lease_lost,
        [Need::Lease],
        "A consumer that stops renewing loses its delivery: it comes again, and the token is stale."
    ),
    case!(
        "consumer-crash",
        consumer_crash,
        [],
        "What a consumer that vanished had in hand comes again to another one, marked as redelivered."
    ),
];

fn lease_of(broker: &dyn Broker) -> Result<Duration> {
    broker.capabilities(&queue("q")?).limits.lease.context("no lease")
}

async fn lease_extended(fixture: &dyn Fixture) -> Result<Tally> {
    #[derive(Debug, Default)]
    struct Slow {
        lease: std::sync::OnceLock<Duration>,
        probe: Arc<Probe>,
    }
    async fn handle(_: Message, ctx: Context<Arc<Slow>>) -> Result<(), HandlerError> {
        let slow = ctx.state();
        slow.probe.ledger.received(ctx.id().as_str());
        sleep(slow.lease.get().copied().unwrap_or_default() * 3).await;
        Ok(())
    }
    let scene = Scene::new(fixture).await?;
    let slow = Arc::<Slow>::default();
    let service = Service::new(Arc::clone(&slow)).on("handler", handle);
    let tables = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n\
                  concurrency = 2\ntimeout = '5m'\n";
    let running = scene.start(tables, service).await?;
    let lease = lease_of(&**running.broker_of("q")?)?;
    slow.lease.get_or_init(|| lease);
    // Two run, two wait in hand: all of them outlive the lease.
    slow.probe.publish(&running, "q", texts("m", 4)).await?;
    slow.probe.handled(4).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    let tally = &report.consumers[0].tally;
    ensure!(tally.handled == 4 && tally.stale == 0, "{tally:?}");
    slow.probe.ledger.arrived(0)
}

async fn lease_renewed(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let lease = lease_of(&*broker)?;
    let ledger = Ledger::default();
    publish(&*broker, &ledger, "q", texts("m", 1)).await?;
    let holder = subscribe(&*broker, "q", "q", 1).await?;
    let other = subscribe(&*broker, "q", "q", 1).await?;
    let held = receive(&*holder, 1).await?;
    let renewing = async {
        for _ in 0..10 {
            sleep(lease / 4).await;
            for renewed in holder.extend(&[held[0].token], soon()).await {
                renewed.context("extend")?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::select! {
        renewed = renewing => renewed?,
        stolen = other.recv(1) => anyhow::bail!("handed out although it was renewed: {stolen:?}"),
    }
    settle(&*holder, &held, Settlement::Ack).await?;
    note(&ledger, &held);
    ensure!(timeout(lease * 2, other.recv(1)).await.is_err(), "it came again after its ack");
    ledger.arrived(0)
}

async fn lease_lost(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Ledger::default();
    publish(&*broker, &ledger, "q", texts("m", 1)).await?;
    let idle = subscribe(&*broker, "q", "q", 1).await?;
    let lost = receive(&*idle, 1).await?;
    note(&ledger, &lost);
    let other = subscribe(&*broker, "q", "q", 1).await?;
    let again = receive(&*other, 1).await?;
    note(&ledger, &again);
    ensure!(again[0].message.id() == lost[0].message.id(), "something else came");
    let stale = idle.settle(&[(lost[0].token, Settlement::Ack)], soon()).await.pop();
    let kind = stale.and_then(|result| result.err().map(|error| error.kind()));
    ensure!(kind == Some(ErrorKind::StaleToken), "the late ack: {kind:?}");
    settle(&*other, &again, Settlement::Ack).await?;
    ledger.arrived(1)
}

async fn consumer_crash(fixture: &dyn Fixture) -> Result<Tally> {
    const PREFETCH: usize = 10;
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &ledger, "q", texts("m", 30)).await?;
    let vanishing = subscribe(&*broker, "q", "q", PREFETCH).await?;
    let in_hand = receive(&*vanishing, PREFETCH).await?;
    note(&ledger, &in_hand);
    drop(vanishing);
    let heir = subscribe(&*broker, "q", "q", 30).await?;
    let all = receive(&*heir, 30).await?;
    note(&ledger, &all);
    settle(&*heir, &all, Settlement::Ack).await?;
    let is_log = scene.limits().await?.max_uncommitted > 0;
    for delivery in all.iter().filter(|d| d.delivery_count.is_some()) {
        let seen = in_hand.iter().any(|d| d.message.id() == delivery.message.id());
        let count = delivery.delivery_count.unwrap_or_default();
        // A log counts starts, for the first message of each partition.
        let is_told = if is_log { count <= 2 } else { (count > 1) == seen };
        ensure!(is_told, "{:?} counts {count}", delivery.message.id());
    }
    let is_noticed = |d: &Delivery| d.delivery_count.is_none_or(|count| count > 1);
    ensure!(all.iter().any(is_noticed), "nothing was counted");
    ledger.arrived(PREFETCH as u64)
}
