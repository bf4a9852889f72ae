//! Committing with an answer. rdkafka's own asynchronous commit asks librdkafka for none.

use rdkafka::TopicPartitionList;
use rdkafka::bindings::{
    rd_kafka_commit_queue, rd_kafka_queue_destroy, rd_kafka_queue_get_consumer,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

use super::context::Client;

/// Begins a commit. Its result comes to
/// [`commit_callback`](rdkafka::consumer::ConsumerContext::commit_callback), unless this fails.
#[allow(unsafe_code)]
pub(super) fn commit(client: &Client, offsets: &TopicPartitionList) -> KafkaResult<()> {
    let native = client.client().native_ptr();
    // SAFETY: `native` is a live consumer for as long as `client` is borrowed. Its queue is a reference of
    // our own until we destroy it; the commit takes another one for its answer, and a copy of the offsets,
    // which live throughout the call.
    let begun = unsafe {
        let queue = rd_kafka_queue_get_consumer(native);
        if queue.is_null() {
            return Err(KafkaError::ConsumerCommit(rdkafka::error::RDKafkaErrorCode::UnknownGroup));
        }
        let begun = rd_kafka_commit_queue(native, offsets.ptr(), queue, None, std::ptr::null_mut());
        rd_kafka_queue_destroy(queue);
        begun
    };
    match begun {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(KafkaError::ConsumerCommit(error.into())),
    }
}
