//! The stages between a delivery and its handler, and what follows the handler.
//!
//! Retry, dead-lettering and deduplication go wrong when their order is left to whoever composes
//! them: a retry that runs inside the deduplicator, a dead letter that is published after the ack.
//! So the stages form one concrete pipeline, in one order:
//!
//! ```text
//! subject → limits → decode → expired? → due? → breaker → dedup claim → timeout → middleware → handler
//! ```
//!
//! and end in one decision: done, retry at a time, dead-letter, or release. What the decision sends
//! is confirmed before the delivery is acked. Only the pipeline settles.
//!
//! Per consumer there are `concurrency` worker tasks and a handful of helpers; nothing is spawned per
//! message.

mod backoff;
mod batch;
mod breaker;
mod claims;
mod dead_letter;
mod decide;
mod dispatch;
mod drain;
mod finish;
mod hand;
mod hop_headers;
mod outcome;
mod shared;
mod stages;
mod tally;
mod task;
mod upkeep;
mod worker;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use dead_letter::DeadLetterReason;
pub use drain::ConsumerReport;
pub use tally::Tally;
pub use task::ConsumerState;

pub(crate) use dispatch::Handlers;
pub(crate) use task::{Pipeline, Start};

/// How long the broker may take to settle before it is asked again.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the broker may take to confirm what the pipeline sends before it is sent again.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
