//! The table, and the page of the docs that has it.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::measure::{Row, Spread};

fn render(rows: &[Row]) -> String {
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

/// The page about a broker.
pub(crate) struct Page<'a> {
    /// The benchmark, as cargo names it.
    pub(crate) bench: &'a str,
    /// The broker, and its version.
    pub(crate) broker: (&'a str, &'a str),
    /// The package that is the raw client.
    pub(crate) client: &'a str,
    /// What both sides do.
    pub(crate) work: &'a str,
}

impl Page<'_> {
    /// Prints the rows, and with `--write` puts them into the docs.
    pub(crate) fn show(&self, rows: &[Row]) {
        let table = render(rows);
        println!("{table}");
        if std::env::args().any(|argument| argument == "--write") {
            self.write(&table);
        }
    }

    fn write(&self, table: &str) {
        let Self { bench, broker: (broker, version), client, work } = self;
        let page = format!("../docs/performance-{bench}.md");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let preface = format!(
            "# Performance on {broker}\n\n\
             Measured by `cargo bench -p polymq-tests --bench {bench} -- --write`, which writes this page.\n\n\
             {work}\n\n\
             *Rate* is messages per second, *CPU* the processor time of the client's process for each \
             message; both are ratios to the raw client of the same round. Absolute rates mean nothing \
             on a shared machine, so there are none. Consuming is timed from the first message handled to \
             the last.\n\n",
        );
        let machine = format!(
            "\n{}, {} logical CPUs shared with the broker, {}; {broker} {version}; {}; {client} {}; polymq {}.\n",
            std::env::consts::ARCH,
            std::thread::available_parallelism().map_or(0, usize::from),
            std::env::consts::OS,
            rustc(),
            locked(client),
            env!("CARGO_PKG_VERSION"),
        );
        std::fs::write(&page, format!("{preface}{table}{machine}")).unwrap();
        println!("written to {}", page.display());
    }
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
