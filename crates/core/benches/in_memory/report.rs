use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::rates::Rate;

pub(crate) fn render(rates: &[Rate], allocations: &[f64], instructions: &[Option<f64>]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "| path | rate ÷ tokio channel: median (least–most) | allocations per message | \
         instructions per message |\n|---|--:|--:|--:|"
    );
    for ((rate, allocations), instructions) in rates.iter().zip(allocations).zip(instructions) {
        let [median, least, most] = rate.ratio;
        let instructions = instructions.map_or("needs valgrind".to_owned(), |n| format!("{n:.0}"));
        let _ = writeln!(
            text,
            "| {} | {median:.2} ({least:.2}–{most:.2}) | {allocations:.2} | {instructions} |",
            rate.scenario.what(),
        );
    }
    text
}

const PREFACE: &str = "# Performance of the in-memory path

Measured by `cargo bench -p polymq-core --bench in_memory -- --write`, which writes this page.

One task publishes 256-byte messages, another receives them. Rates are ratios to a bounded tokio
channel in the same run, on a runtime with two workers: seven rounds of 1,024,000 messages,
interleaved in rotated order. Absolute rates mean nothing on a shared machine, so there are none.
Allocations and instructions are those of the whole process on one thread, of twice as many messages
less those of once as many; they repeat from run to run. Instructions are counted by callgrind.

A tokio channel hands a value to another task and forgets it. The in-memory broker confirms each
publish, keeps what is unsettled, counts hand-outs and keeps leases; the pipeline adds every stage
from limits to settlement.

";

pub(crate) fn write(table: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance.md");
    let machine = format!(
        "\n{}, {} logical CPUs, {}; {}; tokio {}; polymq {}.\n",
        std::env::consts::ARCH,
        std::thread::available_parallelism().map_or(0, usize::from),
        std::env::consts::OS,
        rustc(),
        locked("tokio"),
        env!("CARGO_PKG_VERSION"),
    );
    std::fs::write(&page, format!("{PREFACE}{table}{machine}")).expect("docs/performance.md");
    println!("written to {}", page.display());
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The version of a package in the lock file.
fn locked(package: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = std::fs::read_to_string(file).expect("Cargo.lock");
    let name = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split(&name).nth(1).and_then(|rest| rest.split('"').next());
    version.expect("a locked package").to_owned()
}
