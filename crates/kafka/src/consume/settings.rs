//! What a consuming client is made with, and how much it keeps.

use std::time::Duration;

use polymq_core::Result;
use rdkafka::ClientConfig;

use super::Attach;

/// The fewest messages that a consumer keeps at hand, whatever its prefetch.
const MIN_BUFFER: usize = 64;

/// The most bytes of messages that are kept at hand, beside what waits in a retry inbox.
pub(super) const BUFFER_BYTES: usize = 16 << 20;

/// What the client fetches ahead, beside what is kept at hand.
const FETCHED_KILOBYTES: usize = 16 << 10;

/// The channel is not fetched from while so many are there. A fetch of an empty inbox alone may be waiting then,
/// for as long as `fetch.wait.max.ms`: until it is over they have to last.
const FETCHED_MESSAGES: usize = 100_000;

/// What a fetch brings for each partition, unless a message is larger.
const PARTITION_BYTES: usize = 1 << 20;

/// What record, batch and response add to a message.
const OVERHEAD: usize = 64 << 10;

/// The largest response that librdkafka can be told of.
const MAX_RESPONSE: usize = i32::MAX as usize;

/// How many messages are kept at hand for a prefetch of so many.
pub(super) fn buffer(prefetch: usize) -> usize {
    prefetch.max(MIN_BUFFER)
}

/// The configuration of a consumer's client.
pub(super) fn client(wanted: &Attach) -> Result<ClientConfig> {
    let table = wanted.target.table();
    let largest = table.max_message_bytes().saturating_add(OVERHEAD);
    let fetch = largest.clamp(BUFFER_BYTES, MAX_RESPONSE - OVERHEAD);
    let session = table.session_timeout.0;
    let mut config = wanted.target.client(wanted.subscription.consumer.as_str())?;
    let mut number = |key: &str, value: usize| {
        config.set(key, value.to_string());
    };
    number("session.timeout.ms", millis(session));
    number("heartbeat.interval.ms", millis(session / 4));
    number("max.poll.interval.ms", millis(Duration::from_secs(300).max(session)));
    // The loss of a coordinator must not hold up a commit for longer than the group waits for us.
    number("socket.timeout.ms", millis(session));
    number("topic.metadata.refresh.interval.ms", 5_000);
    // A fetch that is waiting for messages holds up one for a partition that was just assigned.
    number("fetch.wait.max.ms", 100);
    number("fetch.error.backoff.ms", 100);
    number("fetch.queue.backoff.ms", 5);
    number("queued.min.messages", FETCHED_MESSAGES);
    number("queued.max.messages.kbytes", FETCHED_KILOBYTES);
    number("max.partition.fetch.bytes", largest.clamp(PARTITION_BYTES, 1_000_000_000));
    number("fetch.max.bytes", fetch);
    number("receive.message.max.bytes", fetch.saturating_mul(2).clamp(100_000_000, MAX_RESPONSE));
    config
        .set("group.id", &*wanted.group.id)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false");
    Ok(config)
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}
