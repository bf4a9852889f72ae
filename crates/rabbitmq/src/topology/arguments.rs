//! The arguments of exchanges and queues: fixed at their creation.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable, ShortString};

/// How long a consumer may hold a message before the broker takes it away: the queue argument that
/// RabbitMQ heeds up to 4.2, where its own default of 30 minutes would end long handlers. From 4.3 on a
/// consumer sets its own.
pub(crate) const CONSUMER_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);

/// What makes a queue other than plain.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QueueShape {
    pub(super) max_bytes: Option<u64>,
    pub(super) replicas: Option<u32>,
    pub(super) single_active_consumer: bool,
}

impl QueueShape {
    /// A quorum queue that consumers read. It drops nothing: no delivery limit, no time-to-live, and
    /// what doesn't fit is refused.
    pub(super) fn arguments(self) -> FieldTable {
        let mut table = quorum();
        set(&mut table, "x-consumer-timeout", millis(CONSUMER_TIMEOUT));
        if let Some(bytes) = self.max_bytes {
            set(&mut table, "x-max-length-bytes", integer(bytes));
            set(&mut table, "x-overflow", text("reject-publish"));
        }
        if let Some(replicas) = self.replicas {
            set(&mut table, "x-quorum-initial-group-size", integer(replicas.into()));
        }
        if self.single_active_consumer {
            set(&mut table, "x-single-active-consumer", AMQPValue::Boolean(true));
        }
        table
    }
}

/// A queue in which every message waits `seconds`, then goes to `home` by its own routing key. With the
/// default strategy a crash would lose what is on its way.
pub(super) fn delay(seconds: u64, home: &ShortString) -> FieldTable {
    let mut table = quorum();
    set(&mut table, "x-message-ttl", millis(Duration::from_secs(seconds)));
    set(&mut table, "x-dead-letter-exchange", text(home.as_str()));
    set(&mut table, "x-dead-letter-strategy", text("at-least-once"));
    set(&mut table, "x-overflow", text("reject-publish"));
    table
}

/// Where an exchange sends what finds no queue.
pub(super) fn alternate(exchange: Option<&ShortString>) -> FieldTable {
    let mut table = FieldTable::default();
    if let Some(exchange) = exchange {
        set(&mut table, "alternate-exchange", text(exchange.as_str()));
    }
    table
}

fn quorum() -> FieldTable {
    let mut table = FieldTable::default();
    set(&mut table, "x-queue-type", text("quorum"));
    // 4.0 and later drop a message after 20 deliveries unless told not to.
    set(&mut table, "x-delivery-limit", AMQPValue::LongLongInt(-1));
    table
}

fn set(table: &mut FieldTable, key: &'static str, value: AMQPValue) {
    table.insert(key.into(), value);
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn integer(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

fn millis(duration: Duration) -> AMQPValue {
    integer(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
