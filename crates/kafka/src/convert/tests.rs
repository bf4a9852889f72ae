use std::time::Duration;

use polymq_core::{Message, Timestamp};
use rdkafka::message::Headers;

use super::read::Received;
use super::write::header_bytes;
use super::{Form, Reading, headers, wire_size};

fn through(message: &Message, form: Form) -> Received {
    let key = match form {
        Form::Plain => message.key().map(|key| key.to_vec()),
        Form::DeadLetter => Some(b"native".to_vec()),
    };
    let value = match (form, message.payload()) {
        (Form::DeadLetter, None) => Some(Vec::new()),
        (_, payload) => payload.map(|payload| payload.to_vec()),
    };
    let mut reading = Reading::new(key.as_deref(), value.as_deref(), None, form);
    for header in headers(message, "test", form).iter() {
        reading.header(header.key.as_bytes(), header.value.unwrap_or_default());
    }
    reading.finish()
}

fn full() -> Message {
    Message::new(vec![0, 159, 255])
        .with_id("id-1")
        .with_type("order.placed")
        .with_key(vec![0xff, 0])
        .with_content_type("application/json")
        .with_subject("orders.42")
        .with_correlation_id("c")
        .with_causation_id("cause")
        .with_reply_to("answers")
        .with_schema_version(3)
        .with_priority(7)
        .with_timestamp(Timestamp::from_millis(1_700_000_000_123))
        .with_ttl(Duration::from_millis(1_500))
        .with_deliver_at(Timestamp::from_millis(1_700_000_009_000))
        .with_header("größe", vec![0xfe, 1])
        .with_header("ce_id", "not the id")
        .with_header("reply_to", "not the address")
}

#[test]
fn everything_that_a_message_has_survives_the_way() {
    for form in [Form::Plain, Form::DeadLetter] {
        let received = through(&full(), form);
        assert_eq!(received.message, full());
        assert!(received.malformed.is_none());
    }
}

#[test]
fn an_absent_payload_and_an_empty_one_stay_apart() {
    for form in [Form::Plain, Form::DeadLetter] {
        for message in [Message::tombstone(), Message::new("")] {
            assert_eq!(through(&message, form).message.payload(), message.payload(), "{form:?}");
        }
    }
}

#[test]
fn a_foreign_record_is_a_valid_message() {
    let mut reading =
        Reading::new(Some(b"k"), Some(b"v"), Some(Timestamp::from_millis(5)), Form::Plain);
    reading.header(b"tenant", b"acme");
    reading.header(b"\xff", b"");
    reading.header(b"ce_time", b"yesterday");
    let received = reading.finish();
    assert!(received.malformed.is_none());
    let message = received.message;
    assert_eq!(message.id(), None);
    assert_eq!(message.timestamp(), Some(Timestamp::from_millis(5)));
    assert_eq!(message.headers().get_str("tenant"), Some("acme"));
    assert!(message.headers().get("\u{fffd}").is_some());
}

#[test]
fn a_number_of_ours_that_is_none_makes_a_record_malformed() {
    let mut reading = Reading::new(None, Some(b"v"), None, Form::Plain);
    reading.header(b"polymq-schema", b"three");
    let malformed = reading.finish().malformed.unwrap();
    assert!(malformed.to_string().contains("`polymq-schema` holds no number"), "{malformed}");
}

#[test]
fn the_wire_size_is_not_below_what_is_written() {
    let message = full();
    let written: usize = headers(&message, "polymq/production", Form::DeadLetter)
        .iter()
        .map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len))
        .sum();
    assert!(header_bytes(&message) + "polymq/production".len() >= written);
    assert!(wire_size(&message) > written + 3 + 2);
}
