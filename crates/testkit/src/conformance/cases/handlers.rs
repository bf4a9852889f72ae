//! However a handler ends, its message has one of the ends that are documented.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use polymq_core::broker::{Capability, Source};
use polymq_core::{Context, HandlerError, Message, Running, Service};
use tokio::time::Instant;

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{Arrivals, Probe, Scene, channel, group, texts, until};
use crate::conformance::{Case, Need};
use crate::ledger::{Ledger, Tally};

pub(super) const CASES: &[Case] = &[
    case!(
        "panic-and-timeout",
        panic_and_timeout,
        [],
        "A handler that panics or takes too long has failed an attempt; its message is tried again."
    ),
    case!(
        "batch-handler",
        batch_handler,
        [],
        "A batch handler answers per message: those that failed are tried again, and only those."
    ),
    case!(
        "app-crash",
        app_crash,
        [],
        "What an app that vanished was handling is handled by the next one; nothing is lost."
    ),
    case!(
        "retry-survives-crash",
        retry_survives_crash,
        [Need::Has(Capability::DelayedRetry)],
        "A delayed retry outlives its process: attempt and due time are those that were recorded."
    ),
];

async fn panic_and_timeout(fixture: &dyn Fixture) -> Result<Tally> {
    #[allow(clippy::panic, reason = "it is what the case is about")]
    async fn handle(_: Message, ctx: Context<Arc<Ledger>>) -> Result<(), HandlerError> {
        match (ctx.id().as_str(), ctx.attempt()) {
            ("m-3", 1) => panic!("on purpose"),
            ("m-5", 1) => std::future::pending().await,
            _ => {}
        }
        ctx.state().received(ctx.id().as_str());
        Ok(())
    }
    let scene = Scene::new(fixture).await?;
    let ledger = Arc::new(Ledger::default());
    let service = Service::new(Arc::clone(&ledger)).on("handler", handle);
    let tables = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n\
                  timeout = '200ms'\nretry = { immediate = 1, delayed = 0 }\n";
    let running = scene.start(tables, service).await?;
    publish(&running, &ledger, 20).await?;
    until("all were handled", || ledger.distinct() == 20).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    let tally = &report.consumers[0].tally;
    ensure!((tally.handled, tally.retried) == (20, 2), "{tally:?}");
    ledger.arrived(0)
}

/// Publishes `m-0` and on through the app, each of which must be confirmed.
async fn publish(running: &Running, ledger: &Ledger, count: usize) -> Result<()> {
    (0..count).for_each(|n| ledger.sent(&format!("m-{n}"), None));
    let outcomes = running.publisher().publish_all("q", texts("m", count)).await?;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        outcome.into_result()?;
        ledger.confirmed(&format!("m-{n}"));
    }
    Ok(())
}

type Answers = Result<Vec<Result<(), HandlerError>>, HandlerError>;

async fn batch_handler(fixture: &dyn Fixture) -> Result<Tally> {
    async fn handle(batch: Vec<(Message, Context<Arc<Ledger>>)>) -> Answers {
        let answer = |(_, ctx): &(Message, Context<Arc<Ledger>>)| {
            let id = ctx.id().as_str();
            if id.ends_with('4') && ctx.attempt() == 1 {
                return Err("once".into());
            }
            ctx.state().received(id);
            Ok(())
        };
        Ok(batch.iter().map(answer).collect())
    }
    let scene = Scene::new(fixture).await?;
    let ledger = Arc::new(Ledger::default());
    let service = Service::new(Arc::clone(&ledger)).on_batch("handler", handle);
    let tables = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n\
                  batch = { max = 20, linger = '5ms' }\nretry = { immediate = 1, delayed = 0 }\n";
    let running = scene.start(tables, service).await?;
    publish(&running, &ledger, 200).await?;
    until("all were handled", || ledger.distinct() == 200).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    let tally = &report.consumers[0].tally;
    ensure!((tally.handled, tally.retried) == (200, 20), "{tally:?}");
    ledger.arrived(0)
}

const CONFIG: &str = "
[channels.q]
kind = 'queue'
[consumers.handler]
channel = 'q'
concurrency = 4
prefetch = 20
retry = { immediate = 0, delayed = 3, backoff = 'constant', base = '700ms', jitter = 'none' }
";

async fn app_crash(fixture: &dyn Fixture) -> Result<Tally> {
    async fn handle(_: Message, ctx: Context<Arc<Ledger>>) -> Result<(), HandlerError> {
        tokio::time::sleep(Duration::from_millis(3)).await;
        ctx.state().received(ctx.id().as_str());
        Ok(())
    }
    let scene = Scene::new(fixture).await?;
    let ledger = Arc::new(Ledger::default());
    let service = || Service::new(Arc::clone(&ledger)).on("handler", handle);
    let crashing = scene.start(CONFIG, service()).await?;
    publish(&crashing, &ledger, 200).await?;
    until("some were handled", || ledger.distinct() > 50).await?;
    drop(crashing);
    let running = scene.start(CONFIG, service()).await?;
    until("all were handled", || ledger.distinct() == 200).await?;
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    // At most what the first one had in hand was handled twice, and what it had acked and not committed.
    ledger.arrived(20 + scene.limits().await?.max_uncommitted as u64)
}

/// Waits until nothing of a queue is left to handle, so that a crash repeats nothing of it.
async fn emptied(running: &Running, queue: &str) -> Result<()> {
    let source = Source::Group { channel: channel(queue)?, group: group(queue)? };
    let broker = running.broker_of(queue)?;
    for _ in 0..200 {
        if broker.admin().depth(&source).await?.total() == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    anyhow::bail!("{source} is not empty")
}

async fn retry_survives_crash(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (first, failing) = Probe::service(|_| Err("not here".into()));
    let crashing = scene.start(CONFIG, failing).await?;
    let begin = Instant::now();
    first.publish(&crashing, "q", texts("m", 10)).await?;
    until("all retries were recorded", || {
        crashing.state("handler").is_ok_and(|state| state.tally.retried == 10)
    })
    .await?;
    emptied(&crashing, "q").await?;
    drop(crashing);
    let (second, service) = Probe::service(|_| Ok(()));
    for n in 0..10 {
        second.ledger.sent(&format!("m-{n}"), None);
        second.ledger.confirmed(&format!("m-{n}"));
    }
    let running = scene.start(CONFIG, service).await?;
    second.handled(10).await?;
    for seen in second.all() {
        let waited = seen.at - begin;
        ensure!(seen.attempt == 2, "{} was handled as attempt {}", seen.id, seen.attempt);
        ensure!(waited >= Duration::from_millis(700), "early, after {waited:?}");
    }
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    second.ledger.arrived(0)
}
