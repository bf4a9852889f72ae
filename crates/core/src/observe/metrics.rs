//! Metric names, and the handles that the hot path updates.
//!
//! Everything goes through the `metrics` facade: install a recorder before the service starts, as
//! handles are made once. Durations are seconds. Names that begin with `messaging.` are those of
//! the OpenTelemetry messaging conventions (1.37); the rest begin with `polymq.`.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

/// Messages handed to a broker for publishing, by `outcome`: confirmed, unconfirmed, rejected.
pub const SENT: &str = "messaging.client.sent.messages";
/// Messages received from a broker.
pub const CONSUMED: &str = "messaging.client.consumed.messages";
/// How long a publish call to a broker took.
pub const OPERATION_DURATION: &str = "messaging.client.operation.duration";
/// How long an attempt took, by `outcome`: ok, error, timeout, panic.
pub const PROCESS_DURATION: &str = "messaging.process.duration";
/// What became of messages, by `outcome`: handled, retried, dead-lettered, duplicate, superseded,
/// expired, ignored, filtered, released.
pub const SETTLED: &str = "polymq.consumer.settled";
/// Dead letters, by `reason`.
pub const DEAD_LETTERS: &str = "polymq.consumer.dead_letters";
/// Sends of a pipeline (outputs, retry copies, dead letters) that were not confirmed and are being
/// tried again while the original stays unsettled.
pub const SEND_FAILURES: &str = "polymq.consumer.send_failures";
/// Settlements that came too late: the message will be handed out again.
pub const STALE_SETTLEMENTS: &str = "polymq.consumer.stale_settlements";
/// Messages whose handler outlived `max_lease`.
pub const STUCK: &str = "polymq.consumer.stuck";
/// Messages in hand, up to the prefetch.
pub const IN_HAND: &str = "polymq.consumer.in_hand";
/// 1 while the breaker is open.
pub const BREAKER_OPEN: &str = "polymq.consumer.breaker_open";
/// Failures of the deduplication store.
pub const DEDUP_FAILURES: &str = "polymq.dedup.failures";
/// Remembered ids that a full store in memory forgot before their window ended.
pub const DEDUP_EVICTED: &str = "polymq.dedup.evicted";

/// The handles of one consumer.
pub(crate) struct ConsumerMetrics {
    labels: Vec<Label>,
    pub(crate) consumed: Counter,
    pub(crate) handled: Counter,
    pub(crate) process: Histogram,
    pub(crate) in_hand: Gauge,
    pub(crate) breaker_open: Gauge,
    pub(crate) send_failures: Counter,
    pub(crate) stale: Counter,
    pub(crate) stuck: Counter,
    pub(crate) dedup_failures: Counter,
}

impl ConsumerMetrics {
    pub(crate) fn new(system: &'static str, channel: &str, group: &str, consumer: &str) -> Self {
        let labels = vec![
            Label::new("messaging.system", system),
            Label::new("messaging.destination.name", channel.to_owned()),
            Label::new("messaging.consumer.group.name", group.to_owned()),
            Label::new("polymq.consumer", consumer.to_owned()),
        ];
        let with = |key: &'static str, value: &'static str| {
            let mut labels = labels.clone();
            labels.push(Label::new(key, value));
            labels
        };
        Self {
            consumed: counter!(CONSUMED, labels.clone()),
            handled: counter!(SETTLED, with("outcome", "handled")),
            process: histogram!(PROCESS_DURATION, with("outcome", "ok")),
            in_hand: gauge!(IN_HAND, labels.clone()),
            breaker_open: gauge!(BREAKER_OPEN, labels.clone()),
            send_failures: counter!(SEND_FAILURES, labels.clone()),
            stale: counter!(STALE_SETTLEMENTS, labels.clone()),
            stuck: counter!(STUCK, labels.clone()),
            dedup_failures: counter!(DEDUP_FAILURES, labels.clone()),
            labels,
        }
    }

    fn with(&self, key: &'static str, value: &str) -> Vec<Label> {
        let mut labels = self.labels.clone();
        labels.push(Label::new(key, value.to_owned()));
        labels
    }

    /// Anything but `handled`, which has a handle of its own.
    pub(crate) fn settled(&self, outcome: &'static str) {
        counter!(SETTLED, self.with("outcome", outcome)).increment(1);
    }

    pub(crate) fn dead_letter(&self, reason: &'static str) {
        counter!(DEAD_LETTERS, self.with("reason", reason)).increment(1);
    }

    /// An attempt that failed; successful ones go to `process`.
    pub(crate) fn attempt_failed(&self, class: &str, took: Duration) {
        histogram!(PROCESS_DURATION, self.with("outcome", class)).record(took.as_secs_f64());
    }
}

/// The handles of one broker's publishing side.
pub(crate) struct PublishMetrics {
    pub(crate) confirmed: Counter,
    pub(crate) unconfirmed: Counter,
    pub(crate) rejected: Counter,
    pub(crate) duration: Histogram,
}

impl PublishMetrics {
    pub(crate) fn new(system: &'static str, broker: &str) -> Arc<Self> {
        let labels = |outcome: &'static str| {
            vec![
                Label::new("messaging.system", system),
                Label::new("polymq.broker", broker.to_owned()),
                Label::new("outcome", outcome),
            ]
        };
        Arc::new(Self {
            confirmed: counter!(SENT, labels("confirmed")),
            unconfirmed: counter!(SENT, labels("unconfirmed")),
            rejected: counter!(SENT, labels("rejected")),
            duration: histogram!(OPERATION_DURATION, labels("any")),
        })
    }
}
