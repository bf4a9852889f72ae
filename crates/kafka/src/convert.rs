//! A message to a Kafka record and back, by the CloudEvents binding for Kafka in its binary mode.
//!
//! | field | record |
//! |---|---|
//! | key | key; on a dead-letter topic, which is compacted by the dead letter's own id, header `polymq-key` |
//! | payload | value; none is a null value, on a dead-letter topic header `polymq-tombstone` |
//! | timestamp | timestamp, and header `ce_time`; in a retry inbox the timestamp is the moment of release |
//! | id, type, subject, `specversion`, `source` | headers `ce_…` |
//! | content type, correlation id, reply-to | headers `content-type`, `correlation_id`, `reply_to` |
//! | causation id, schema version, expiry, deliver-at, priority | headers `polymq-…` |
//! | the application's headers | headers, as bytes; those that meet one of the names above begin with `polymq-header-` |
//!
//! A foreign record may have none of these: it then has what its key, value, timestamp and headers say. Of
//! headers with one name, the last counts. A name that is not UTF-8 is read with replacement characters.

mod headers;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use headers::each;
pub(crate) use read::Reading;
pub(crate) use write::{Form, headers, wire_size};

const ID: &str = "ce_id";
const TYPE: &str = "ce_type";
const TIME: &str = "ce_time";
const SUBJECT: &str = "ce_subject";
const SPECVERSION: &str = "ce_specversion";
const SOURCE: &str = "ce_source";
const CONTENT_TYPE: &str = "content-type";
const CORRELATION_ID: &str = "correlation_id";
const REPLY_TO: &str = "reply_to";
const KEY: &str = "polymq-key";
const TOMBSTONE: &str = "polymq-tombstone";
const CAUSATION_ID: &str = "polymq-causation-id";
const SCHEMA: &str = "polymq-schema";
const EXPIRES_AT: &str = "polymq-expires-at";
const DELIVER_AT: &str = "polymq-deliver-at";
const PRIORITY: &str = "polymq-priority";

/// What stands before an application's header whose name is taken.
const ESCAPE: &str = "polymq-header-";

fn is_taken(name: &str) -> bool {
    name.starts_with("ce_") || matches!(name, CONTENT_TYPE | CORRELATION_ID | REPLY_TO)
}
