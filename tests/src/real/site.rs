use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::{Message, Running};
use polymq_testkit::containers::Container;

/// What one test has on a real broker for itself, and what differs from broker to broker for a test
/// that runs on all of them.
#[async_trait]
pub trait Site: Debug + Send + Sync {
    /// Product and version, for what a test prints.
    fn label(&self) -> String;

    /// Where it is, with credentials.
    fn url(&self) -> String;

    /// The broker's host and port.
    fn address(&self) -> String;

    /// The URL of somebody whose name and password the broker checks.
    fn url_as(&self, user: &str, password: &str) -> String;

    /// The URL with another host and port, for what lies in between.
    fn url_at(&self, address: &str) -> String;

    /// The namespace that no other test uses on this broker.
    fn namespace(&self) -> &str;

    /// What a test's configuration says to this broker, so that the test needs less patience.
    fn settings(&self) -> &str {
        ""
    }

    /// How long a broker takes to notice that a consumer's process has died.
    fn notices_within(&self) -> Duration {
        Duration::ZERO
    }

    /// How many messages may be acked without the broker knowing yet: a crash repeats them.
    fn uncommitted(&self) -> u64 {
        0
    }

    /// How many of the messages that a process has in hand may come again when others take over from it in
    /// an orderly way: on a log, what is finished behind something that isn't.
    fn repeated_by_handover(&self, in_hand: u64) -> u64 {
        let _ = in_hand;
        0
    }

    /// The broker's container, unless it runs elsewhere.
    fn container(&self) -> Option<&Container>;

    /// Starts the broker again, and waits until it takes connections.
    async fn restart(&self) -> polymq_core::Result<()>;

    /// How many messages of a queue wait for their retry.
    async fn delayed(&self, running: &Running, channel: &str) -> u64;

    /// Sends a message of each key to an ordered channel that holds nothing else, and says which partition
    /// each lies in. The key is the payload, too.
    async fn partitions(
        &self,
        running: &Running,
        channel: &str,
        keys: &[String],
    ) -> BTreeMap<String, usize>;
}

/// Sends a message of each key, with the key as its payload.
pub(super) async fn publish_each(running: &Running, channel: &str, keys: &[String]) {
    let messages = keys.iter().map(|key| Message::new(key.clone()).with_key(key.clone()));
    let outcomes = running.publisher().publish_all(channel, messages).await;
    for outcome in outcomes.unwrap_or_else(|e| panic!("{e:?}")) {
        outcome.into_result().unwrap_or_else(|e| panic!("{e:?}"));
    }
}
