//! Waits until every line has come to an end, and accounts for all of them.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use polymq::broker::Source;
use polymq::pipeline::Tally;
use polymq::{DrainReport, Error, Running};
use tokio::time::{Instant, sleep};

/// How long the lines may take, many times what they need.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Waits until `lines` orders have come to an end and every receipt is booked, or the deadline has
/// passed.
pub(crate) async fn wait(running: &Running, lines: u64) -> Result<(), Error> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mailer = running.state("mailer")?.tally;
        let booked = running.state("bookkeeper")?.tally.handled;
        if (ended(&mailer) >= lines && booked >= mailer.outputs) || Instant::now() >= deadline {
            return Ok(());
        }
        sleep(POLL).await;
    }
}

/// How many dead letters the broker holds.
pub(crate) async fn dead_letters(running: &Running) -> Result<u64, Error> {
    let channel = &running.config().consumers["mailer"].dead_letter;
    let admin = running.broker_of(channel.as_str())?.admin();
    Ok(admin.depth(&Source::DeadLetter(channel.clone())).await?.total())
}

fn ended(tally: &Tally) -> u64 {
    tally.handled + deduplicated(tally) + tally.expired + tally.dead_letters()
}

/// A duplicate of a message that waits for its retry has been superseded by it.
fn deduplicated(tally: &Tally) -> u64 {
    tally.duplicates + tally.superseded
}

/// What became of the lines.
pub(crate) struct Account {
    lines: u64,
    mailer: Tally,
    dead_letters: u64,
    receipts: u64,
}

impl Account {
    /// Of a file with `lines` lines, with `dead_letters` in the broker and `receipts` in the books.
    pub(crate) fn new(lines: u64, drained: &DrainReport, dead_letters: u64, receipts: u64) -> Self {
        let mailer = drained.consumers.iter().find(|c| c.consumer == *"mailer");
        let mailer = mailer.map(|c| c.tally.clone()).unwrap_or_default();
        Self { lines, mailer, dead_letters, receipts }
    }

    /// Whether every line is accounted for.
    pub(crate) fn balances(&self) -> bool {
        let mailer = &self.mailer;
        ended(mailer) == self.lines
            && mailer.dead_letters() == self.dead_letters
            && mailer.outputs == mailer.handled
            && mailer.outputs == self.receipts
    }

    fn table(&self) -> Table {
        let mailer = &self.mailer;
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["messages", "count", ""]);
        let mut row = |what: &str, count: u64, why: &str| {
            table.add_row([what, &count.to_string(), why]);
        };
        row("received", mailer.received, "from the channel `orders`");
        row("handled", mailer.handled, "a receipt was mailed, perhaps after a retry");
        row("retried", mailer.retried, "failed attempts with another one after them");
        row("  of these delayed", mailer.received_retries, "which waited in the broker");
        row("deduplicated", deduplicated(mailer), "whose id had come before");
        row("expired", mailer.expired, "past their time-to-live");
        row("dead-lettered", mailer.dead_letters(), "given up, kept in `orders-dead`");
        for (reason, count) in &mailer.dead_lettered {
            row(&format!("  {reason}"), *count, "");
        }
        row("receipts published", mailer.outputs, "to the channel `receipts`");
        row("receipts booked", self.receipts, "by the second consumer");
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, mailer) = (self.lines, &self.mailer);
        writeln!(f, "{}\n", self.table())?;
        let verdict = if self.balances() { "everything is" } else { "NOT everything is" };
        write!(
            f,
            "{verdict} accounted for: {lines} lines = {} handled + {} deduplicated + {} expired + \
             {} dead-lettered",
            mailer.handled,
            deduplicated(mailer),
            mailer.expired,
            mailer.dead_letters()
        )
    }
}
