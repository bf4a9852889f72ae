//! A failed attempt is followed by another one, at its time, with its number.

use std::time::Duration;

use anyhow::{Result, ensure};
use polymq_core::broker::{Broker, Capability};

use crate::Fixture;
use crate::conformance::case::case;
use crate::conformance::kit::{Arrivals, Probe, Scene, Seen, queue, texts};
use crate::conformance::{Case, Need};
use crate::ledger::Tally;

const DELAYED: Need = Need::Has(Capability::DelayedRetry);

pub(super) const CASES: &[Case] = &[
    case!(
        "resend-on-error",
        resend_on_error,
        [],
        "When 2 of 100 messages fail an attempt, all 100 are handled."
    ),
    case!(
        "retry-delay",
        retry_delay,
        [DELAYED, Need::Quiet],
        "A delayed retry is never early, and late by at most 10 % or the broker's slack."
    ),
    case!(
        "retry-attempts",
        retry_attempts,
        [DELAYED],
        "Attempts count up by one across immediate and delayed retries, and no attempt runs twice."
    ),
    case!(
        "retry-of-one-group",
        retry_of_one_group,
        [DELAYED, Need::Has(Capability::Topic)],
        "A retry goes to the group that failed, and no other group of the topic sees it."
    ),
    case!(
        "retry-all",
        retry_all,
        [DELAYED],
        "200 messages that all fail their first attempt are all handled in the second one."
    ),
];

async fn retry_of_one_group(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (failing, first) =
        Probe::service(|seen| if seen.attempt == 1 { Err("once".into()) } else { Ok(()) });
    let (fine, second) = Probe::service(|_| Ok(()));
    let tables = |group: &str| {
        format!(
            "[channels.t]\nkind = 'topic'\n[consumers.handler]\nchannel = 't'\n\
             group = '{group}'\nretry = {{ immediate = 0, delayed = 1, base = '100ms' }}\n"
        )
    };
    let one = scene.start(&tables("one"), first).await?;
    let other = scene.start(&tables("other"), second).await?;
    for n in 0..20 {
        fine.ledger.sent(&format!("m-{n}"), None);
        fine.ledger.confirmed(&format!("m-{n}"));
    }
    failing.publish(&one, "t", texts("m", 20)).await?;
    failing.handled(20).await?;
    fine.handled(20).await?;
    ensure!(failing.attempts() == 40, "{} attempts where all fail once", failing.attempts());
    ensure!(fine.attempts() == 20, "{} attempts where none fails", fine.attempts());
    for running in [one, other] {
        let report = running.drain().await;
        ensure!(report.is_clean(), "{report}");
    }
    Ok([failing.ledger.arrived(0)?, fine.ledger.arrived(0)?].into_iter().sum())
}

async fn resend_on_error(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) = Probe::service(|seen| match (seen.id.as_str(), seen.attempt) {
        ("m-13" | "m-77", 1) => Err("once".into()),
        _ => Ok(()),
    });
    let tables = "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n\
                  retry = { immediate = 1, delayed = 0 }\n";
    let running = scene.start(tables, service).await?;
    probe.publish(&running, "q", texts("m", 100)).await?;
    probe.handled(100).await?;
    ensure!(probe.attempts() == 102, "{} attempts", probe.attempts());
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}

fn delayed(immediate: u32, delays: u32, base: &str) -> String {
    format!(
        "[channels.q]\nkind = 'queue'\n[consumers.handler]\nchannel = 'q'\n\
         retry = {{ immediate = {immediate}, delayed = {delays}, backoff = 'exponential', \
         base = '{base}', jitter = 'none' }}\n"
    )
}

/// How late a wait may end.
fn bound(broker: &dyn Broker, wait: Duration) -> Result<Duration> {
    let slack = broker.capabilities(&queue("q")?).limits.delay_slack;
    Ok(slack.max(wait / 10))
}

fn check_wait(broker: &dyn Broker, before: &Seen, after: &Seen, wait: Duration) -> Result<()> {
    let (waited, bound) = (after.at - before.at, bound(broker, wait)?);
    ensure!(waited >= wait, "{} came after {waited:?}: early for {wait:?}", after.id);
    ensure!(waited <= wait + bound, "{} came after {waited:?}: late for {wait:?}", after.id);
    Ok(())
}

async fn retry_delay(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) =
        Probe::service(|seen| if seen.attempt < 4 { Err("not yet".into()) } else { Ok(()) });
    let running = scene.start(&delayed(0, 3, "300ms"), service).await?;
    probe.publish(&running, "q", texts("m", 5)).await?;
    probe.handled(5).await?;
    let broker = running.broker_of("q")?;
    for n in 0..5 {
        let seen = probe.of(&format!("m-{n}"));
        ensure!(seen.len() == 4, "{} attempts at m-{n}", seen.len());
        for (pair, wait) in seen.windows(2).zip([300, 600, 1200]) {
            check_wait(&**broker, &pair[0], &pair[1], Duration::from_millis(wait))?;
        }
    }
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}

async fn retry_attempts(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) =
        Probe::service(|seen| if seen.attempt < 6 { Err("not yet".into()) } else { Ok(()) });
    let running = scene.start(&delayed(2, 3, "50ms"), service).await?;
    probe.publish(&running, "q", texts("m", 20)).await?;
    probe.handled(20).await?;
    for n in 0..20 {
        let attempts: Vec<u32> = probe.of(&format!("m-{n}")).iter().map(|s| s.attempt).collect();
        ensure!(attempts == [1, 2, 3, 4, 5, 6], "m-{n} had the attempts {attempts:?}");
    }
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    let tally = &report.consumers[0].tally;
    ensure!(tally.handled == 20 && tally.retried == 100, "{tally:?}");
    probe.ledger.arrived(0)
}

async fn retry_all(fixture: &dyn Fixture) -> Result<Tally> {
    let scene = Scene::new(fixture).await?;
    let (probe, service) =
        Probe::service(|seen| if seen.attempt == 1 { Err("once".into()) } else { Ok(()) });
    let running = scene.start(&delayed(0, 1, "200ms"), service).await?;
    probe.publish(&running, "q", texts("m", 200)).await?;
    probe.handled(200).await?;
    ensure!(probe.attempts() == 400, "{} attempts", probe.attempts());
    let report = running.drain().await;
    ensure!(report.is_clean(), "{report}");
    probe.ledger.arrived(0)
}
