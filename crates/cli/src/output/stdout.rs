use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::args::Cli;
use crate::exit::Failure;

/// Who reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A program: one JSON value per line.
    Json,
    /// A person: tables.
    Table,
}

impl Style {
    pub(crate) fn of(cli: &Cli) -> Self {
        match !cli.json && io::stdout().is_terminal() {
            true => Self::Table,
            false => Self::Json,
        }
    }
}

/// Writes to stdout and reports what fails there, a closed pipe included.
#[derive(Debug)]
pub(crate) struct Stdout {
    inner: io::BufWriter<io::Stdout>,
}

impl Stdout {
    pub(crate) fn new() -> Self {
        Self { inner: io::BufWriter::new(io::stdout()) }
    }

    /// One JSON value and the end of its line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value).map_err(|e| Failure::Internal(e.to_string()))?;
        line.push(b'\n');
        self.inner.write_all(&line).map_err(Failure::Stdout)
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.inner, "{text}").map_err(Failure::Stdout)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.inner.flush().map_err(Failure::Stdout)
    }
}
