//! The producer, and what it says on the keeper's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polymq_core::Result;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use super::ledger::Ledger;
use super::verdict;
use crate::context::Watch;
use crate::target::Target;

/// librdkafka's handle.
pub(super) type Producer = BaseProducer<Reports>;

/// How long a message waits in librdkafka at most, whether or not its call is over. It is as long as the longest
/// outage that a call can wait for.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a topic may be unknown before sends to it are rejected: a new one takes a moment to be known to
/// all brokers.
const PROPAGATION: Duration = Duration::from_secs(3);

/// How a producer is made, with the password as it is now.
///
/// # Errors
/// `Config` when the password's file cannot be read.
pub(super) fn config(target: &Target) -> Result<ClientConfig> {
    let table = target.table();
    let mut config = target.client("producer")?;
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // As Java's clients choose.
        .set("partitioner", "murmur2_random")
        .set("compression.type", table.compression.as_str())
        .set("linger.ms", (table.linger.0.as_secs_f64() * 1e3).to_string())
        .set("message.max.bytes", table.max_message_bytes().to_string())
        .set("message.timeout.ms", MESSAGE_TIMEOUT.as_millis().to_string())
        .set("topic.metadata.propagation.max.ms", PROPAGATION.as_millis().to_string())
        // The ledger is the bound: this one is off by 0, and that one far above it.
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", "2097151");
    Ok(config)
}

/// Where reports go.
#[derive(Debug)]
pub(super) struct Reports {
    ledger: Arc<Ledger>,
    watch: Arc<Watch>,
    is_broken: AtomicBool,
    is_refused: AtomicBool,
    is_given_up: AtomicBool,
}

impl Reports {
    pub(super) fn new(ledger: Arc<Ledger>, watch: Arc<Watch>) -> Self {
        Self {
            ledger,
            watch,
            is_broken: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }

    /// The producer will send nothing more.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Notes that the producer will send nothing more.
    pub(super) fn broken(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// The brokers do not take the password.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        if self.is_refused() {
            self.is_refused.store(false, Ordering::Relaxed);
        }
        if self.watch.is_down() {
            self.watch.up();
        }
    }

    /// From now on only what was stored counts: another producer sends everything else.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.watch.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(Code::Fatal) => self.broken(),
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
                self.is_refused.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        ClientContext::error(&*self.watch, error, reason);
    }
}

impl ProducerContext for Reports {
    /// The key of the message in the ledger.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, key: usize) {
        match report {
            Ok(message) => {
                self.answered();
                self.ledger.settle(key, verdict::stored(message));
            }
            Err(_) if self.is_given_up.load(Ordering::Relaxed) => {}
            Err((error, message)) => match verdict::failed(error, message) {
                Some(outcome) => self.ledger.settle(key, outcome),
                None => self.broken(),
            },
        }
    }
}
