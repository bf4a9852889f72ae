//! A message to AMQP and back.
//!
//! | field | AMQP |
//! |---|---|
//! | id, type, content type, correlation id, reply-to, priority | the properties of those names |
//! | timestamp | property, in seconds, and header `polymq-time`, in milliseconds |
//! | expiry | header `polymq-expires-at`; `expiration` is the broker's own business: never written, since a wait on a delay queue would lose it, and not read, since the broker has heeded it |
//! | subject | routing key, and header `cloudEvents:subject` |
//! | `specversion`, `source` of CloudEvents | headers `cloudEvents:…` |
//! | key, causation id, schema version, deliver-at | headers `polymq-…` |
//! | no payload at all | header `polymq-tombstone` |
//! | the application's headers | headers, as byte strings |
//!
//! A foreign message may have none of these: it then has what its properties and headers say.

mod read;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub(crate) use read::read;
pub(crate) use write::{check, write};

/// The longest short string: property values and header names.
const SHORT: usize = 255;

const TIME: &str = "polymq-time";
const EXPIRES_AT: &str = "polymq-expires-at";
const DELIVER_AT: &str = "polymq-deliver-at";
const KEY: &str = "polymq-key";
const CAUSATION_ID: &str = "polymq-causation-id";
const SCHEMA: &str = "polymq-schema";
const TOMBSTONE: &str = "polymq-tombstone";
const SPECVERSION: &str = "cloudEvents:specversion";
const SOURCE: &str = "cloudEvents:source";
const SUBJECT: &str = "cloudEvents:subject";
const CONTENT_ENCODING: &str = "content-encoding";

/// The broker takes these headers for routing instructions and closes the channel over a value that is
/// no array: on the wire they have this prefix.
const ESCAPED: [&str; 2] = ["CC", "BCC"];
const ESCAPE: &str = "polymq-header-";
