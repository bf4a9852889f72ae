use std::io::{self, IsTerminal};

use polymq::MessageId;
use serde::Serialize;

use crate::args::Cli;
use crate::exit::{Exit, Failure, say};
use crate::output::{Progress, Stdout, Style, table};

/// What became of a line's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Confirmed,
    Unconfirmed,
    Rejected,
}

/// The line that answers a line.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// `None` when the line could not be read.
    pub(super) id: Option<MessageId>,
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// The number of the input's line.
    pub(super) line: u64,
}

impl Answer {
    pub(super) fn malformed(line: u64, error: String) -> Self {
        Self { id: None, status: Status::Rejected, error: Some(error), line }
    }

    fn is_malformed(&self) -> bool {
        self.id.is_none()
    }
}

/// Tells answers, and counts them.
pub(super) struct Report {
    style: Style,
    stdout: Stdout,
    progress: Progress,
    counts: Counts,
    /// Why stdout takes no more.
    broken: Option<Failure>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    confirmed: u64,
    unconfirmed: u64,
    rejected: u64,
    malformed: u64,
}

impl Report {
    pub(super) fn new(cli: &Cli) -> Self {
        let style = Style::of(cli);
        Self {
            style,
            stdout: Stdout::new(),
            progress: Progress::start(style == Style::Table || !io::stdout().is_terminal()),
            counts: Counts::default(),
            broken: None,
        }
    }

    /// A program gets every answer, a person those that need one. `last` says that nothing else is
    /// under way. Says whether anybody listens: without an answer nothing should be sent.
    pub(super) fn tell(&mut self, answer: &Answer, last: bool) -> bool {
        self.counts.add(answer);
        let Counts { confirmed, unconfirmed, rejected, malformed } = self.counts;
        self.progress
            .say(|| format!("{confirmed} confirmed, {} not", unconfirmed + rejected + malformed));
        if answer.is_malformed() || self.style == Style::Table {
            self.complain(answer);
        }
        if self.style == Style::Json && self.broken.is_none() {
            let written = self.stdout.json(answer);
            let flushed = written.and_then(|()| if last { self.stdout.flush() } else { Ok(()) });
            self.broken = flushed.err();
        }
        self.broken.is_none()
    }

    fn complain(&self, answer: &Answer) {
        let Some(error) = &answer.error else { return };
        let text = match &answer.id {
            None => format!("line {}: {error}", answer.line),
            Some(id) => format!("line {}: {:?} {id}: {error}", answer.line, answer.status),
        };
        self.progress.aside(|| say(&text));
    }

    /// The last word: a person gets the counts.
    pub(super) fn finish(mut self) -> Result<Exit, Failure> {
        match self.broken.take() {
            // Whoever closed stdout knows; but not all messages were answered.
            Some(failure) if failure.is_closed_stdout() => return Ok(Exit::Io),
            Some(failure) => return Err(failure),
            None => {}
        }
        if self.style == Style::Table {
            let Counts { confirmed, unconfirmed, rejected, malformed } = self.counts;
            let row = [confirmed, unconfirmed, rejected, malformed].map(|n| n.to_string());
            let table = table(["confirmed", "unconfirmed", "rejected", "malformed"], [row]);
            self.stdout.text(&table.to_string())?;
        }
        self.progress.aside(|| self.stdout.flush())?;
        Ok(match self.counts {
            Counts { unconfirmed: 0, rejected: 0, malformed: 0, .. } => Exit::Done,
            Counts { unconfirmed: 0, rejected: 0, .. } => Exit::DataError,
            _ => Exit::No,
        })
    }
}

impl Counts {
    fn add(&mut self, answer: &Answer) {
        *match answer.status {
            _ if answer.is_malformed() => &mut self.malformed,
            Status::Confirmed => &mut self.confirmed,
            Status::Unconfirmed => &mut self.unconfirmed,
            Status::Rejected => &mut self.rejected,
        } += 1;
    }
}
