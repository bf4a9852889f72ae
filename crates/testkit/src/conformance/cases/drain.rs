//! An app that stops finishes what it began, gives back the rest, and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use polymq_core::{Context, HandlerError, Message, Service};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::Fixture;
use crate::conformance::Case;
use crate::conformance::case::case;
use crate::conformance::kit::{Arrivals, Probe, QUIET, Scene, soon, texts, until};
use crate::ledger::Tally;

pub(super) const CASES: &[Case] = &[
    case!(
        "drain",
        drain,
        [],
        "A drain leaves nothing handled unacked; what was not handled comes again; the report adds up."
    ),
    case!(
        "context-end",
        context_end,
        [],
        "Work that outlasts the drain is cancelled, reported, and comes again."
    ),
    case!(
        "app-pause",
        app_pause,
        [],
        "A paused consumer of an app handles nothing new; resumed, it handles everything."
    ),
];

const CONFIG: &str = "
[channels.q]
kind = 'queue'
[consumers.handler]
channel = 'q'
concurrency = 4
prefetch = 20
";

async fn drain(fixture: &dyn Fixture) -> Result<Tally> {
    #[derive(Debug)]
    struct Gate {
        open: Semaphore,
        begun: AtomicUsize,
        probe: Arc<Probe>,
    }
    async fn handle(_: Message, ctx: Context<Arc<Gate>>) -> Result<(), HandlerError> {
        let gate = ctx.state();
        gate.begun.fetch_add(1, Ordering::Relaxed);
        gate.open.acquire().await?.forget();
        gate.probe.ledger.received(ctx.id().as_str());
        Ok(())
    }
    let scene = Scene::new(fixture).await?;
    let (probe, rest) = Probe::service(|_| Ok(()));
    let begun = AtomicUsize::new(0);
    let gate = Arc::new(Gate { open: Semaphore::new(10), begun, probe: Arc::clone(&probe) });
    let service = Service::new(Arc::clone(&gate)).on("handler", handle);
    let running = scene.start(CONFIG, service).await?;
    probe.publish(&running, "q", texts("m", 100)).await?;
    until("14 began", || gate.begun.load(Ordering::Relaxed) == 14).await?;
    let draining = running.drain();
    let opening = async {
        sleep(Duration::from_millis(50)).await;
        gate.open.add_permits(100);
    };
    let (report, ()) = tokio::join!(draining, opening);
    ensure!(report.is_clean(), "{report}");
    let handled = report.consumers[0].tally.handled;
    ensure!(handled == probe.ledger.distinct(), "{handled} were handled: {}", probe.tally());
    ensure!(handled < 100, "the drain handled what it had not begun: {handled}");
    let running = scene.start(CONFIG, rest).await?;
    probe.handled(100).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    ensure!(report.consumers[0].tally.handled == 100 - handled, "{report}");
    probe.ledger.arrived(0)
}

async fn context_end(fixture: &dyn Fixture) -> Result<Tally> {
    struct Ended(Arc<AtomicUsize>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    type State = (Arc<AtomicUsize>, Arc<AtomicUsize>);
    async fn handle(_: Message, ctx: Context<State>) -> Result<(), HandlerError> {
        let (begun, ended) = ctx.state();
        let _ended = Ended(Arc::clone(ended));
        begun.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
    let scene = Scene::new(fixture).await?;
    let (probe, rest) = Probe::service(|_| Ok(()));
    let (begun, ended) = State::default();
    let service = Service::new((Arc::clone(&begun), Arc::clone(&ended))).on("handler", handle);
    let running = scene.start(CONFIG, service).await?;
    probe.publish(&running, "q", texts("m", 2)).await?;
    until("both began", || begun.load(Ordering::Relaxed) == 2).await?;
    let report = running.drain_by(Instant::now() + Duration::from_millis(100)).await;
    ensure!(ended.load(Ordering::Relaxed) == 2, "the work went on after the drain");
    ensure!(report.consumers[0].cancelled.len() == 2, "{report}");
    let running = scene.start(CONFIG, rest).await?;
    probe.handled(2).await?;
    running.drain_by(soon()).await;
    probe.ledger.arrived(0)
}

async fn app_pause(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|_| Ok(()));
    let running = scene.start(CONFIG, service).await?;
    running.pause("handler")?;
    until("the pause is known", || {
        running.state("handler").is_ok_and(|state| state.paused && state.broker.paused)
    })
    .await?;
    probe.publish(&running, "q", texts("m", 50)).await?;
    sleep(QUIET).await;
    ensure!(probe.attempts() == 0, "{} were handled while paused", probe.attempts());
    running.resume("handler")?;
    probe.handled(50).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}
