//! What travels, and the file it is read from; `examples/data/README.md` describes it.

use std::path::Path;

use polymq::config::HumanDuration;
use polymq::prelude::*;
use polymq::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order: String,
    #[serde(default)]
    pub(crate) email: String,
    pub(crate) item: String,
    pub(crate) cents: u64,
    /// How the made-up mail server treats this order.
    #[serde(default)]
    pub(crate) mailbox: Mailbox,
}

impl Payload for OrderPlaced {
    const TYPE: &'static str = "order.placed";

    fn key(&self) -> Option<&[u8]> {
        Some(self.order.as_bytes())
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptSent {
    pub(crate) order: String,
}

impl Payload for ReceiptSent {
    const TYPE: &'static str = "receipt.sent";
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mailbox {
    /// Takes every mail.
    #[default]
    Open,
    /// Refuses so many times.
    Busy(u32),
    /// Refuses every time.
    Gone,
    /// Never answers the first time.
    Stalls,
    /// Answers with something that the client panics on.
    Crashes,
}

/// A line of the file.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    message_type: String,
    timestamp: Option<String>,
    ttl: Option<HumanDuration>,
    payload: serde_json::Value,
}

impl TryFrom<Envelope> for Message {
    type Error = Error;

    fn try_from(envelope: Envelope) -> Result<Self, Error> {
        let mut message = Self::new(envelope.payload.to_string())
            .with_id(envelope.id)
            .with_type(envelope.message_type)
            .with_content_type(OrderPlaced::CONTENT_TYPE);
        if let Some(timestamp) = envelope.timestamp {
            message = message.with_timestamp(timestamp.parse()?);
        }
        Ok(match envelope.ttl {
            Some(ttl) => message.with_ttl(ttl.into()),
            None => message,
        })
    }
}

/// A message per line of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<Message>, Error> {
    let file = std::fs::read(path).map_err(|e| {
        Error::new(ErrorKind::NotFound, format!("cannot read {}", path.display()))
            .with_operation("read the orders")
            .with_source(e)
    })?;
    let lines = file.split_inclusive(|byte| *byte == b'\n');
    Ok(lines.map(|line| message(line.strip_suffix(b"\n").unwrap_or(line))).collect())
}

/// Whatever a line holds, it is published: one that is no envelope becomes an order that nobody can
/// decode, and ends as a dead letter with its bytes as they were, where a person finds it.
fn message(line: &[u8]) -> Message {
    let envelope = serde_json::from_slice::<Envelope>(line).ok();
    envelope
        .and_then(|envelope| Message::try_from(envelope).ok())
        .unwrap_or_else(|| Message::new(line.to_vec()).with_type(OrderPlaced::TYPE))
}
