use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::measure::{Row, Spread};
use crate::{BYTES, ROUNDS, WINDOW};

pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::from(
        "| operation | the raw client | rate ÷ raw: median (least–most) | CPU ÷ raw: median (least–most) |\n\
         |---|---|--:|--:|\n",
    );
    for row in rows {
        let (rate, cpu) = (show(row.rate()), show(row.cpu()));
        let _ = writeln!(text, "| {} | {} | {rate} | {cpu} |", row.operation, row.raw);
    }
    text
}

fn show(Spread { median, least, most }: Spread) -> String {
    format!("{median:.2} ({least:.2}–{most:.2})")
}

pub(crate) fn write(table: &str, broker: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance-rabbitmq.md");
    let preface = format!(
        "# Performance on RabbitMQ\n\n\
         Measured by `cargo bench -p polymq-tests --bench rabbitmq -- --write`, which writes this page.\n\n\
         polymq and lapin, the client under it, do the same work on the same quorum queue in one run: \
         {ROUNDS} rounds of {} messages of {BYTES} bytes, interleaved, after one that doesn't count. \
         lapin is used as an expert does: writes overlap, and acks cover many messages. Both write the \
         same message, with its id, time and CloudEvents headers, and wait for every confirm. What \
         polymq consumes passes its whole pipeline to a handler. At most {WINDOW} \
         messages are unconfirmed, or in hand.\n\n\
         *Rate* is messages per second, *CPU* the processor time of the client's process for each \
         message; both are ratios to the raw client of the same round. Absolute rates mean nothing \
         on a shared machine, so there are none. Consuming is timed from the first message handled to \
         the last.\n\n",
        crate::broker::round(),
    );
    let machine = format!(
        "\n{}, {} logical CPUs shared with the broker, {}; RabbitMQ {broker}; {}; lapin {}; polymq {}.\n",
        std::env::consts::ARCH,
        std::thread::available_parallelism().map_or(0, usize::from),
        std::env::consts::OS,
        rustc(),
        locked("lapin"),
        env!("CARGO_PKG_VERSION"),
    );
    std::fs::write(&page, format!("{preface}{table}{machine}")).unwrap();
    println!("written to {}", page.display());
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The version of a package in the lock file.
fn locked(package: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = std::fs::read_to_string(file).unwrap();
    let name = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split(&name).nth(1).and_then(|rest| rest.split('"').next());
    version.unwrap().to_owned()
}
