use std::fmt;
use std::sync::Arc;

use crate::model::{ConsumerName, MessageId, Timestamp};

/// An attempt failed and another one follows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Retried {
    /// The consumer.
    pub consumer: ConsumerName,
    /// The message.
    pub id: MessageId,
    /// The attempt that failed.
    pub attempt: u32,
    /// The class of its error.
    pub class: String,
    /// Its error.
    pub error: String,
    /// When the next attempt is due.
    pub due: Timestamp,
}

/// A message was given up; its dead letter is confirmed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLettered {
    /// The consumer.
    pub consumer: ConsumerName,
    /// The message.
    pub id: MessageId,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why.
    pub reason: crate::pipeline::DeadLetterReason,
    /// The last error.
    pub error: String,
}

type Hook<T> = Arc<dyn Fn(&T) + Send + Sync>;

/// Observers: they see, and change nothing.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(super) retried: Vec<Hook<Retried>>,
    pub(super) dead_lettered: Vec<Hook<DeadLettered>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("retried", &self.retried.len())
            .field("dead_lettered", &self.dead_lettered.len())
            .finish()
    }
}

impl Hooks {
    pub(crate) fn retried(&self, event: &Retried) {
        self.retried.iter().for_each(|hook| guarded(|| hook(event)));
    }

    pub(crate) fn dead_lettered(&self, event: &DeadLettered) {
        self.dead_lettered.iter().for_each(|hook| guarded(|| hook(event)));
    }
}

/// An observer that panics must not take a message with it.
fn guarded(hook: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook)).is_err() {
        tracing::error!("a hook panicked; the message is not affected");
    }
}
