use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use polymq_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, timeout};

use super::report::{CaseReport, Report, Verdict};
use super::{Case, all};
use crate::Fixture;
use crate::ledger::Tally;

/// How many cases run at once.
const CONCURRENCY: usize = 8;
/// How long one case may take.
const DEADLINE: Duration = Duration::from_secs(90);

/// Runs every case.
///
/// Never fails or panics itself: what went wrong is in the report.
pub async fn run(fixture: &dyn Fixture) -> Report {
    let start = Instant::now();
    let numbered = all().enumerate();
    let (alone, together): (Vec<_>, Vec<_>) = numbered.partition(|(_, case)| case.exclusive());
    let mut cases: Vec<(usize, CaseReport)> = stream::iter(together)
        .map(|(number, case)| async move { (number, execute(fixture, case).await) })
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    for (number, case) in alone {
        cases.push((number, execute(fixture, case).await));
    }
    cases.sort_by_key(|(number, _)| *number);
    let cases = cases.into_iter().map(|(_, report)| report).collect();
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
    Ok(execute(fixture, case).await)
}

async fn execute(fixture: &dyn Fixture, case: &'static Case) -> CaseReport {
    let start = Instant::now();
    let body = AssertUnwindSafe(attempt(fixture, case)).catch_unwind();
    let (verdict, counts) = match timeout(DEADLINE, body).await {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => failed(format!("panicked: {}", text_of(&*panic))),
        Err(_) => failed(format!("hung: not done after {DEADLINE:?}")),
    };
    CaseReport {
        name: case.name,
        guarantee: case.guarantee,
        verdict,
        counts,
        elapsed: start.elapsed(),
    }
}

async fn attempt(fixture: &dyn Fixture, case: &Case) -> (Verdict, Tally) {
    match case.ruled_out(fixture).await {
        Ok(None) => {}
        Ok(Some(reason)) => return (Verdict::NotApplicable { reason }, Tally::default()),
        Err(error) => return failed(format!("the broker could not be asked: {error}")),
    }
    match (case.body)(fixture).await {
        Ok(counts) => (Verdict::Passed, counts),
        Err(error) => failed(format!("{error:#}")),
    }
}

fn failed(error: String) -> (Verdict, Tally) {
    (Verdict::Failed { error }, Tally::default())
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}
