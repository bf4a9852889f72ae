//! What librdkafka's reports mean for a message.

use polymq_core::Position;
use polymq_core::broker::{Confirmation, Outcome};
use rdkafka::Message;
use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;

use crate::error;

/// The outcome of a message that was stored. A duplicate of the producer's own has no place.
pub(super) fn stored(message: &BorrowedMessage<'_>) -> Outcome {
    let place = u32::try_from(message.partition()).ok().zip(u64::try_from(message.offset()).ok());
    Outcome::Confirmed(match place {
        Some((partition, offset)) => Confirmation::at(Position { partition, offset }),
        None => Confirmation::default(),
    })
}

/// The outcome of a message that failed, if there is one: otherwise it is the producer that failed, and
/// another one has to send the message again.
pub(super) fn failed(error: &KafkaError, message: &BorrowedMessage<'_>) -> Option<Outcome> {
    if is_end_of_producer(error) {
        return None;
    }
    let meaning = match error::code(error) {
        Some(Code::InvalidDifferentRecord) => error::spoilt(),
        _ => error::native(error),
    };
    Some(match status(message) {
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Outcome::Rejected(meaning),
        _ => Outcome::Unconfirmed(meaning),
    })
}

/// Whether a producer that says so is of no more use.
pub(super) fn is_end_of_producer(error: &KafkaError) -> bool {
    matches!(
        error::code(error),
        Some(
            Code::Fatal
                | Code::PurgeQueue
                | Code::PurgeInflight
                | Code::OutOfOrderSequenceNumber
                | Code::UnknownProducerId
                | Code::InvalidProducerEpoch
        )
    )
}

#[allow(unsafe_code)]
fn status(message: &BorrowedMessage<'_>) -> rd_kafka_msg_status_t {
    // SAFETY: `message.ptr()` is a live message for as long as `message` is borrowed; the call only reads it.
    unsafe { rd_kafka_message_status(message.ptr()) }
}
