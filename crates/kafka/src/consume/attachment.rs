//! Joining a group whose topics are there. librdkafka would wait for those that aren't.

use std::time::{Duration, Instant};

use polymq_core::{Error, ErrorKind, Result};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use super::Attach;
use super::context::Client;
use super::shared::Shared;
use crate::error;

/// How long one question to the brokers may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long a topic that was just made may be unknown to a broker.
const PROPAGATION: Duration = Duration::from_secs(2);

/// Subscribes to the channel; the [inbox follows](super::inbox) it.
///
/// # Errors
/// `NotFound` or `PermissionDenied` for a topic; `Unauthenticated` when the brokers refuse the user.
pub(super) fn join(client: &Client, wanted: &Attach, shared: &Shared) -> Result<()> {
    let group = &wanted.group;
    for topic in [&*group.topic, &*group.inbox] {
        let asked = Instant::now();
        loop {
            match is_there(client, topic) {
                Ok(true) => break,
                Ok(false) => {}
                Err(e) if e.kind() == ErrorKind::NotFound && asked.elapsed() < PROPAGATION => {}
                Err(e) => return Err(e),
            }
            if shared.closing().is_some() {
                return Ok(());
            }
            // Serves what the client has to say of its connection.
            let _ = client.poll(Duration::from_millis(50));
            if client.context().is_refused() {
                return Err(error::by_code(Code::Authentication));
            }
        }
    }
    client.subscribe(&[&*group.topic]).map_err(|e| error::native(&e))
}

/// Whether a topic is there, as far as the brokers answer.
fn is_there(client: &Client, topic: &str) -> Result<bool> {
    let Ok(metadata) = client.fetch_metadata(Some(topic), PATIENCE) else { return Ok(false) };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(false);
    };
    match found.error() {
        None => Ok(true),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => Ok(false),
        Some(refused) => Err(of_topic(refused.into(), topic)),
    }
}

/// What was said about a topic, with its name.
pub(super) fn of_topic(code: Code, topic: &str) -> Error {
    error::about(code, &format!("topic `{topic}`"))
}

/// What was said about the topics or the group of a consumer, found by the name in `reason`.
pub(super) fn of_group(code: Code, reason: &str, wanted: &Attach) -> Error {
    let group = &wanted.group;
    // The inbox's name begins with the topic's.
    let topic = [&group.inbox, &group.topic].into_iter().find(|topic| reason.contains(&***topic));
    match topic {
        Some(topic) if error::by_code(code).kind() != ErrorKind::TopologyMismatch => {
            of_topic(code, topic)
        }
        _ => error::about(code, &format!("consumer group `{}`", group.id)),
    }
}
