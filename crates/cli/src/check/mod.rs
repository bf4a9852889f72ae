//! `polymq check`: everything that is wrong, at once.

mod connect;
mod finding;

use crate::args::{CheckArgs, Cli};
use crate::exit::{Exit, Failure, say};
use crate::output::{Stdout, Style, table};
use finding::Finding;

pub(crate) async fn run(cli: &Cli, args: &CheckArgs) -> Result<Exit, Failure> {
    let app = polymq::app();
    let findings = match app.check(&cli.config) {
        Err(errors) => errors.problems().iter().map(Finding::error).collect(),
        Ok(config) => {
            let mut findings: Vec<_> = config.warnings.iter().map(Finding::warning).collect();
            if args.connect {
                findings.extend(connect::check(&app, &config).await);
            }
            findings
        }
    };
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    print(cli, &findings)?;
    let warnings = findings.len() - errors;
    say(&format!("{}, {}", count(errors, "error"), count(warnings, "warning")));
    Ok(if errors == 0 { Exit::Done } else { Exit::No })
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn print(cli: &Cli, findings: &[Finding]) -> Result<(), Failure> {
    let mut stdout = Stdout::new();
    match Style::of(cli) {
        Style::Json => findings.iter().try_for_each(|finding| stdout.json(finding))?,
        Style::Table if findings.is_empty() => {}
        Style::Table => {
            let rows = findings.iter().map(Finding::row);
            stdout.text(&table(["", "where", "what", "fix"], rows).to_string())?;
        }
    }
    stdout.flush()
}
