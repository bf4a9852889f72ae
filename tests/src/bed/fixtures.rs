//! Configurations and payloads that most tests use.

use polymq_core::Payload;
use serde::{Deserialize, Serialize};

/// The configuration that most tests extend: what is appended belongs to `[consumers.mailer]`
/// until another table begins.
pub const MAILER: &str = r#"
[broker]
url = "memory://"
[channels.orders]
kind = "queue"
[channels.receipts]
kind = "queue"
[consumers.mailer]
channel = "orders"
outputs = ["receipts"]
"#;

/// [`MAILER`], with more lines for its consumer.
#[must_use]
pub fn mailer(more: &str) -> String {
    format!("{MAILER}{more}\n")
}

/// [`MAILER`] on an ordered channel, with more lines for its consumer.
#[must_use]
pub fn ordered_mailer(more: &str) -> String {
    mailer(more).replacen("kind = \"queue\"", "kind = \"queue\"\norder_by = \"key\"", 1)
}

/// An application's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which one.
    pub n: u32,
    /// The message's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An order without a key.
#[must_use]
pub fn order(n: u32) -> Order {
    Order { n, key: None }
}

/// An order with a key.
#[must_use]
pub fn keyed(key: impl std::fmt::Display, n: u32) -> Order {
    Order { n, key: Some(key.to_string()) }
}

impl Payload for Order {
    const TYPE: &'static str = "order";

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref().map(str::as_bytes)
    }
}

/// What a handler publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of which order.
    pub n: u32,
}

impl Payload for Receipt {
    const TYPE: &'static str = "receipt";
}
