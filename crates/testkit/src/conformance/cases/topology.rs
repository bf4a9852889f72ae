//! Channels are created once, and never changed.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use polymq_core::broker::{Capability, ObjectState, Plan};
use polymq_core::{Error, ErrorKind};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{
    Arrivals, Readers, Scene, ordered_queue, publish, queue, subscribe, texts, topic,
};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "apply-twice",
        apply_twice,
        [Need::Has(Capability::Topic)],
        "Applying a topology again, or from several connections at once, is the same as once."
    ),
    case!(
        "topology-mismatch",
        topology_mismatch,
        [Need::Has(Capability::OrderByKey)],
        "A channel of another shape is refused, and nothing is changed or created."
    ),
    case!(
        "subscribe-missing",
        subscribe_missing,
        [],
        "Subscribing to a channel or group that is not there is an error that says so."
    ),
];

fn present(plan: &Plan) -> bool {
    !plan.objects.is_empty() && plan.objects.iter().all(|o| o.state == ObjectState::Present)
}

async fn apply_twice(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let channels = || Ok::<_, anyhow::Error>(vec![queue("q")?, topic("t", &["a", "b"])?]);
    let broker = scene.connect(channels()?).await?;
    let before = broker.admin().plan().await?;
    ensure!(before.missing().count() == before.objects.len(), "a new namespace has {before:?}");
    let connections = try_join_all((0..4).map(|_| scene.broker(channels().unwrap_or_default())));
    connections.await?;
    broker.admin().apply(&before).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &ledger, "q", texts("m", 10)).await?;
    broker.admin().apply(&before).await?;
    let after = broker.admin().plan().await?;
    ensure!(present(&after), "after it was applied: {after:?}");
    let consumer = subscribe(&*broker, "q", "q", 10).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 10).await?;
    ledger.arrived(0)
}

async fn topology_mismatch(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.broker(vec![queue("q")?]).await?;
    let ledger = Arc::new(Ledger::default());
    publish(&*broker, &ledger, "q", texts("m", 10)).await?;
    let mut ordered = ordered_queue("q")?;
    // On a log, order alone makes no difference.
    ordered.partitions = 5;
    let other = scene.connect(vec![queue("new")?, ordered]).await?;
    let plan = other.admin().plan().await?;
    ensure!(plan.differing().count() > 0, "the difference was not seen: {plan:?}");
    let kind = other.admin().apply(&plan).await.err().map(|error| error.kind());
    ensure!(kind == Some(ErrorKind::TopologyMismatch), "it was applied: {kind:?}");
    let again = other.admin().plan().await?;
    ensure!(again == plan, "something was changed: {plan:?} became {again:?}");
    let consumer = subscribe(&*broker, "q", "q", 10).await?;
    Readers::start([consumer], &ledger).finish(&ledger, 10).await?;
    ledger.arrived(0)
}

async fn subscribe_missing(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let broker = scene.connect(vec![queue("absent")?]).await?;
    let Err(error) = subscribe(&*broker, "absent", "absent", 1).await else {
        anyhow::bail!("it subscribed to nothing");
    };
    let kind = error.downcast_ref::<Error>().map(Error::kind);
    ensure!(kind == Some(ErrorKind::NotFound), "{error:#}");
    Ok(Tally::default())
}
