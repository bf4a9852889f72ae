//! What the client calls back with, all of it from within `poll` on the consumer's own thread.
//!
//! A rebalance is only noted here and served by that thread's loop, in as many turns as it takes: Kafka
//! waits for as long as the loop goes on polling, and what is not concerned goes on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;

use crate::context::Watch;

/// The client of a consumer.
pub(super) type Client = BaseConsumer<Context>;

/// A change of what is assigned, until it has been served.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(TopicPartitionList),
    Revoke(TopicPartitionList),
}

/// What became of a commit: without an error, for each partition of the list.
pub(super) type Committed = (KafkaResult<()>, TopicPartitionList);

#[derive(Debug)]
pub(super) struct Context {
    watch: Arc<Watch>,
    notes: Mutex<Notes>,
    /// Counts the callbacks.
    served: AtomicU64,
    /// The client is being closed: rebalances are served at once.
    is_ending: AtomicBool,
}

#[derive(Debug, Default)]
struct Notes {
    rebalances: VecDeque<Rebalance>,
    committed: Option<Committed>,
    /// What the latest error was about, in librdkafka's words.
    reason: String,
    /// The brokers have refused the credentials.
    is_refused: bool,
}

impl Context {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        Self {
            watch,
            notes: Mutex::default(),
            served: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        }
    }

    /// Grows with each callback, which `poll` doesn't tell from nothing.
    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn take_rebalance(&self) -> Option<Rebalance> {
        self.note(|notes| notes.rebalances.pop_front())
    }

    pub(super) fn take_committed(&self) -> Option<Committed> {
        self.note(|notes| notes.committed.take())
    }

    /// What the error that `poll` has just returned was about.
    pub(super) fn take_reason(&self) -> String {
        self.note(|notes| std::mem::take(&mut notes.reason))
    }

    /// No broker can be reached since they refuse the credentials.
    pub(super) fn is_refused(&self) -> bool {
        self.watch.is_down() && self.note(|notes| notes.is_refused)
    }

    /// From here on rebalances are served at once.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    fn note<T>(&self, take: impl FnOnce(&mut Notes) -> T) -> T {
        take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.watch.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        self.watch.trouble(code, reason);
        self.note(|notes| {
            notes.reason = reason.to_owned();
            notes.is_refused |=
                matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL);
        });
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &Client, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        let rebalance = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(list.clone()),
            _ => Rebalance::Revoke(list.clone()),
        };
        match self.is_ending.load(Ordering::Relaxed) {
            true => agree(client, &rebalance),
            false => self.note(|notes| notes.rebalances.push_back(rebalance)),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.note(|notes| notes.committed = Some((result, offsets.clone())));
    }
}

/// Tells librdkafka that a rebalance has been followed, of which nothing was made.
pub(super) fn agree(client: &Client, rebalance: &Rebalance) {
    let agreed = match rebalance {
        Rebalance::Assign(list) => client.incremental_assign(list),
        // With the partitions of the inbox that follow.
        Rebalance::Revoke(_) => {
            client.assignment().and_then(|all| client.incremental_unassign(&all))
        }
    };
    if let Err(error) = agreed {
        tracing::debug!(%error, "a rebalance at the end of a client");
    }
}
