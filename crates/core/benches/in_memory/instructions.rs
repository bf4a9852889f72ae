//! Counts instructions with callgrind, in a child process.

use std::process::Command;

use crate::scenarios::Scenario;

/// Instructions per message: of twice as many messages less those of once as many. `None` without
/// valgrind.
pub(crate) fn per_message(scenario: Scenario) -> Option<f64> {
    const COUNT: usize = 12_800;
    let (once, twice) = (count(scenario, COUNT)?, count(scenario, 2 * COUNT)?);
    Some((twice - once) / COUNT as f64)
}

fn count(scenario: Scenario, messages: usize) -> Option<f64> {
    let binary = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(binary)
        .args(["--only", scenario.name(), &messages.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|l| l.split("Collected : ").nth(1))?;
    line.trim().parse().ok()
}
