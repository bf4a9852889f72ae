use std::io::Write;

use polymq::{Context, HandlerError};

use super::gate::Gate;
use super::record::{header, record};
use super::writer::Writer;
use crate::envelope::Envelope;
use crate::exit::Failure;
use crate::output::Style;

/// Writes deliveries to stdout.
#[derive(Debug)]
pub(super) struct Lines {
    style: Style,
    broker: String,
    writer: Writer,
}

impl Lines {
    /// # Errors
    /// When there is no thread to write from.
    pub(super) fn new(
        style: Style,
        broker: String,
        mut output: impl Write + Send + 'static,
    ) -> Result<Self, Failure> {
        if style == Style::Table {
            writeln!(output, "{}", header()).map_err(Failure::Stdout)?;
        }
        let writer = Writer::start(output).map_err(|e| Failure::Internal(e.to_string()))?;
        Ok(Self { style, broker, writer })
    }

    /// Writes and flushes. What cannot be written is nobody's failed attempt: it goes back.
    pub(super) async fn write<S>(
        &self,
        context: &Context<S>,
        gate: &Gate,
    ) -> Result<(), HandlerError> {
        let envelope = Envelope::new(context, &self.broker);
        let mut line = match self.style {
            Style::Json => serde_json::to_vec(&envelope)?,
            Style::Table => record(context).into_bytes(),
        };
        line.push(b'\n');
        let Err(error) = self.writer.write(line).await else { return Ok(()) };
        gate.fail(error.kind());
        Err(gate.refuse().await)
    }
}
