use std::fmt;
use std::time::Duration;

use crate::ledger::Tally;

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Verdict {
    /// The guarantee holds.
    Passed,
    /// The broker cannot be asked for it.
    NotApplicable {
        /// In the words of the capability's denial, or of the fixture.
        reason: String,
    },
    /// It does not hold, the case hung, or it panicked.
    Failed {
        /// What was seen.
        error: String,
    },
}

/// What one case did.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct CaseReport {
    /// The case.
    pub name: &'static str,
    /// What it guarantees.
    pub guarantee: &'static str,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What it counted; zeros unless it passed.
    pub counts: Tally,
    /// How long it took.
    pub elapsed: Duration,
}

/// What the suite found on one fixture. Prints as a table, and serialises as JSON.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The fixture's name.
    pub fixture: String,
    /// One per case, in the order of the suite.
    pub cases: Vec<CaseReport>,
    /// How long all of them took.
    pub elapsed: Duration,
}

impl Report {
    /// The cases that failed.
    pub fn failed(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| matches!(case.verdict, Verdict::Failed { .. }))
    }

    /// The cases that did not apply.
    pub fn not_applicable(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| matches!(case.verdict, Verdict::NotApplicable { .. }))
    }

    /// Passes if every case passed, apart from those of this list that were not applicable.
    ///
    /// # Panics
    /// With every case that failed, and every one that was not applicable without being listed.
    #[track_caller]
    #[allow(clippy::panic, reason = "it is an assertion")]
    pub fn assert_passed(&self, allowed_not_applicable: &[&str]) {
        let unlisted =
            self.not_applicable().filter(|case| !allowed_not_applicable.contains(&case.name));
        let wrong: Vec<String> = self
            .failed()
            .chain(unlisted)
            .map(|case| format!("{}: {}", case.name, case.detail()))
            .collect();
        if !wrong.is_empty() {
            panic!("{}: {} cases are wrong\n{}", self.fixture, wrong.len(), wrong.join("\n"));
        }
    }
}

impl CaseReport {
    fn outcome(&self) -> &'static str {
        match self.verdict {
            Verdict::Passed => "passed",
            Verdict::NotApplicable { .. } => "n/a",
            Verdict::Failed { .. } => "FAILED",
        }
    }

    fn detail(&self) -> String {
        match &self.verdict {
            Verdict::Passed if self.counts == Tally::default() => String::new(),
            Verdict::Passed => self.counts.to_string(),
            Verdict::NotApplicable { reason } => format!("not applicable: {reason}"),
            Verdict::Failed { error } => format!("{error} (must hold: {})", self.guarantee),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        writeln!(f, "conformance of {}", self.fixture)?;
        for case in &self.cases {
            let line = format!(
                "  {:width$}  {:6}  {:6.2} s  {}",
                case.name,
                case.outcome(),
                case.elapsed.as_secs_f64(),
                case.detail()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let (failed, ruled_out) = (self.failed().count(), self.not_applicable().count());
        let passed = self.cases.len() - failed - ruled_out;
        write!(
            f,
            "  {passed} passed, {failed} failed, {ruled_out} not applicable, {:.2} s",
            self.elapsed.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: impl IntoIterator<Item = (&'static str, Verdict)>) -> Report {
        let case = |(name, verdict)| CaseReport {
            name,
            guarantee: "it holds",
            verdict,
            counts: Tally::default(),
            elapsed: Duration::from_millis(1500),
        };
        Report {
            fixture: "fake".to_owned(),
            cases: verdicts.into_iter().map(case).collect(),
            elapsed: Duration::from_secs(2),
        }
    }

    fn not_applicable() -> Verdict {
        Verdict::NotApplicable { reason: "no topic: too small".to_owned() }
    }

    #[test]
    fn it_prints_a_line_per_case_and_a_sum() {
        let failed = Verdict::Failed { error: "lost 1".to_owned() };
        let report = report([("a", Verdict::Passed), ("bb", not_applicable()), ("c", failed)]);
        assert_eq!(
            report.to_string(),
            "conformance of fake\n  \
             a   passed    1.50 s\n  \
             bb  n/a       1.50 s  not applicable: no topic: too small\n  \
             c   FAILED    1.50 s  lost 1 (must hold: it holds)\n  \
             1 passed, 1 failed, 1 not applicable, 2.00 s"
        );
    }

    #[test]
    fn a_listed_case_may_be_not_applicable() {
        report([("a", Verdict::Passed), ("b", not_applicable())]).assert_passed(&["b"]);
    }

    #[test]
    #[should_panic(expected = "b: not applicable: no topic: too small")]
    fn an_unlisted_case_may_not() {
        report([("b", not_applicable())]).assert_passed(&["a"]);
    }

    #[test]
    #[should_panic(expected = "a: lost 1")]
    fn a_listed_case_may_not_fail() {
        let failed = Verdict::Failed { error: "lost 1".to_owned() };
        report([("a", failed)]).assert_passed(&["a"]);
    }
}
