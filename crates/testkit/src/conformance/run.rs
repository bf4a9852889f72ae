use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use polymq_core::broker::Topology;
use polymq_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, timeout};

use super::case::Company;
use super::kit::soon;
use super::report::{CaseReport, Report, Verdict};
use super::{Case, all};
use crate::Fixture;
use crate::ledger::Tally;

/// How long the broker may take to say what it can do.
const ANSWER: Duration = Duration::from_secs(60);

/// Runs every case.
///
/// Never fails or panics itself: what went wrong is in the report.
pub async fn run(fixture: &dyn Fixture) -> Report {
    let start = Instant::now();
    let cases: Vec<&'static Case> = all().collect();
    let applies = guarded(ANSWER, applies(fixture, &cases)).await;
    let mut reports = Vec::new();
    for company in Company::ALL {
        let numbered = cases.iter().enumerate().filter(|(_, case)| case.company() == company);
        let running = stream::iter(numbered).map(|(number, case)| {
            let applies = applies.as_ref().map(|reasons| reasons[number].clone());
            let applies = applies.map_err(Clone::clone);
            async move { (number, execute(fixture, case, applies).await) }
        });
        reports.extend(running.buffer_unordered(company.size()).collect::<Vec<_>>().await);
    }
    reports.sort_by_key(|(number, _)| *number);
    let cases = reports.into_iter().map(|(_, report)| report).collect();
    Report { fixture: fixture.name(), cases, elapsed: start.elapsed() }
}

/// Runs one case.
///
/// # Errors
/// `NotFound` for a name that no case has. A case that fails is not an error here: its report says
/// so.
pub async fn run_case(fixture: &dyn Fixture, name: &str) -> Result<CaseReport> {
    let case = all().find(|case| case.name == name).ok_or_else(|| {
        let names: Vec<_> = all().map(|case| case.name).collect();
        Error::new(ErrorKind::NotFound, format!("no conformance case is called `{name}`"))
            .with_help(format!("use one of: {}", names.join(", ")))
    })?;
    let applies = guarded(ANSWER, applies(fixture, &[case])).await;
    Ok(execute(fixture, case, applies.map(|mut reasons| reasons.remove(0))).await)
}

/// For each case why it does not apply; `None` if it does. One connection answers for all.
async fn applies(fixture: &dyn Fixture, cases: &[&Case]) -> anyhow::Result<Vec<Option<String>>> {
    let topology = Topology { namespace: fixture.namespace().await?, channels: Vec::new() };
    let broker = fixture.connect(topology).await?;
    let lifecycle = fixture.lifecycle();
    let reasons: Result<Vec<_>> =
        cases.iter().map(|case| case.ruled_out(&*broker, &lifecycle)).collect();
    broker.close(soon()).await?;
    Ok(reasons?)
}

async fn execute(
    fixture: &dyn Fixture,
    case: &'static Case,
    ruled_out: Result<Option<String>, String>,
) -> CaseReport {
    let start = Instant::now();
    let (verdict, counts) = match ruled_out {
        Ok(None) => match guarded(case.company().deadline(), (case.body)(fixture)).await {
            Ok(counts) => (Verdict::Passed, counts),
            Err(error) => failed(error),
        },
        Ok(Some(reason)) => (Verdict::NotApplicable { reason }, Tally::default()),
        Err(error) => failed(format!("the broker could not be asked: {error}")),
    };
    CaseReport {
        name: case.name,
        guarantee: case.guarantee,
        verdict,
        counts,
        elapsed: start.elapsed(),
    }
}

/// Ends what hangs, and keeps a panic from the other cases.
async fn guarded<T>(
    limit: Duration,
    body: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, String> {
    match timeout(limit, AssertUnwindSafe(body).catch_unwind()).await {
        Ok(Ok(done)) => done.map_err(|error| format!("{error:#}")),
        Ok(Err(panic)) => Err(format!("panicked: {}", text_of(&*panic))),
        Err(_) => Err(format!("hung: not done after {limit:?}")),
    }
}

fn failed(error: String) -> (Verdict, Tally) {
    (Verdict::Failed { error }, Tally::default())
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}
