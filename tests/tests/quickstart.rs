//! The quickstart as a newcomer runs it: the first command of the README, in the repository's root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::HashMap;
use std::process::{Command, Output};
use std::sync::LazyLock;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ORDERS: &str = include_str!("../../examples/data/orders.ndjson");

/// The plain run, which several tests look at.
static PLAIN: LazyLock<Output> = LazyLock::new(|| quickstart().output().unwrap());

/// Cargo holds no lock while tests run, and finds the example built wherever it puts what it builds.
fn quickstart() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--example", "quickstart", "--"]).current_dir(ROOT);
    command
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// The counts of the table, by the name of their row.
fn counts(output: &Output) -> HashMap<&str, usize> {
    let rows = stdout(output).lines().filter_map(|line| {
        let row = line.strip_prefix('│')?;
        let digits = row.find(|c: char| c.is_ascii_digit())?;
        let (name, rest) = row.split_at(digits);
        Some((name.trim(), rest.split_whitespace().next()?.parse().ok()?))
    });
    rows.collect()
}

#[test]
fn it_prints_what_is_expected() {
    assert!(PLAIN.status.success(), "{}", stderr(&PLAIN));
    assert_eq!(stdout(&PLAIN), include_str!("../../examples/quickstart/expected.txt"));
}

#[test]
fn every_line_of_its_input_is_accounted_for() {
    let counts = counts(&PLAIN);
    let ends = ["handled", "deduplicated", "expired", "dead-lettered"];
    assert_eq!(ends.map(|end| counts[end]).iter().sum::<usize>(), ORDERS.lines().count());
    let reasons = ["permanent", "retries-exhausted", "undecodable", "unknown-type"];
    assert_eq!(reasons.map(|r| counts[r]).iter().sum::<usize>(), counts["dead-lettered"]);
    assert_eq!(counts["receipts booked"], counts["handled"]);
}

#[test]
fn its_orders_are_as_many_as_their_description_says() {
    let page = include_str!("../../examples/data/README.md");
    let described = page.lines().filter_map(|line| {
        let count = line.strip_prefix("| ")?.split_once(" |")?.0;
        count.parse::<usize>().ok()
    });
    assert_eq!(described.sum::<usize>(), ORDERS.lines().count());
}

#[test]
fn the_environment_overrides_its_configuration() {
    let mut command = quickstart();
    command.env("POLYMQ_CONSUMERS__MAILER__EXPIRED", "dead-letter");
    command.env("POLYMQ_CONSUMERS__MAILER__RETRY__DELAYED", "0");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let (counts, plain) = (counts(&output), counts(&PLAIN));
    assert_eq!(counts["of these delayed"], 0);
    // The 8 expired orders, and the 8 that only a delayed retry would have got through.
    assert_eq!(counts["dead-lettered"], plain["dead-lettered"] + 8 + 8);
    assert_eq!(counts["handled"], plain["handled"] - 8);
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_place() {
    let mut command = quickstart();
    let output = command.env("POLYMQ_CONSUMERS__MAILER__TIMEOT", "2s").output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("POLYMQ_CONSUMERS__MAILER__TIMEOT"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "", "nothing was published");
}

#[test]
fn a_file_of_orders_that_is_missing_is_named() {
    let output = quickstart().args(["--orders", "nowhere.ndjson"]).output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("cannot read nowhere.ndjson"), "{}", stderr(&output));
}
