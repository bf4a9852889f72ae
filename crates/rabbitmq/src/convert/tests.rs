use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use polymq_core::{ErrorKind, Message, Timestamp};

use super::write::header_frame;
use super::*;

fn there_and_back(message: &Message) -> Message {
    let properties = write(message, "polymq:test");
    let data = message.payload().map(|p| p.to_vec()).unwrap_or_default();
    let received = read(&properties, data, None);
    assert!(received.malformed.is_none(), "{:?}", received.malformed);
    received.message
}

fn full() -> Message {
    Message::new(vec![0, 255, 10])
        .with_id("order-1")
        .with_type("order.placed")
        .with_content_type("application/json")
        .with_subject("orders.eu.placed")
        .with_key(vec![0xff, 0x00])
        .with_correlation_id("basket-9")
        .with_causation_id("click-3")
        .with_reply_to("answers")
        .with_schema_version(3)
        .with_timestamp(Timestamp::from_millis(1_767_225_600_123))
        .with_ttl(std::time::Duration::from_millis(1500))
        .with_deliver_at(Timestamp::from_millis(1_767_225_700_000))
        .with_priority(4)
        .with_header("BCC", "not a route")
        .with_header("binary", vec![0xff, 0xfe])
        .with_header("content-encoding", "gzip")
        .with_header("tenant", "Zoë")
}

#[test]
fn every_field_comes_back() {
    let back = there_and_back(&full());
    let sorted = |message: &Message| {
        let mut headers: Vec<_> =
            message.headers().iter().map(|(n, v)| (n.to_owned(), v.clone())).collect();
        headers.sort();
        headers
    };
    assert_eq!(sorted(&back), sorted(&full()));
    let without_headers = |mut message: Message| {
        message.headers_mut().retain(|_| false);
        format!("{message:?}")
    };
    assert_eq!(without_headers(back), without_headers(full()));
}

#[test]
fn an_empty_payload_and_none_stay_apart() {
    assert_eq!(there_and_back(&Message::new("")).payload().map(|p| p.len()), Some(0));
    assert_eq!(there_and_back(&Message::tombstone()).payload(), None);
}

#[test]
fn a_foreign_message_has_what_its_properties_and_headers_say() {
    let mut inner = FieldTable::default();
    inner.insert("a".into(), AMQPValue::LongInt(1));
    let mut table = FieldTable::default();
    table.insert("count".into(), AMQPValue::LongLongInt(-7));
    table.insert("flag".into(), AMQPValue::Boolean(true));
    table.insert("table".into(), AMQPValue::FieldTable(inner));
    table.insert("raw".into(), AMQPValue::ByteArray(vec![1, 0xff].into()));
    table.insert("x-death".into(), AMQPValue::Void);
    table.insert("x-delivery-count".into(), AMQPValue::LongLongInt(2));
    let properties = BasicProperties::default()
        .with_headers(table)
        .with_timestamp(1_767_225_600)
        .with_expiration("2000".into());
    let received = read(&properties, b"hello".to_vec(), Some("greetings.en"));
    let message = received.message;
    assert_eq!(received.delivery_count, 3);
    assert_eq!(message.headers().len(), 4);
    assert_eq!(message.headers().get_str("count"), Some("-7"));
    assert_eq!(message.headers().get_str("flag"), Some("true"));
    assert_eq!(message.headers().get_str("table"), Some(r#"{"a":1}"#));
    assert_eq!(message.headers().get("raw").unwrap().as_ref(), [1, 0xff]);
    assert_eq!(message.subject(), Some("greetings.en"));
    assert_eq!(message.id(), None);
    assert_eq!(message.timestamp(), Some(Timestamp::from_millis(1_767_225_600_000)));
    // The broker counts it from the message's arrival, whatever the timestamp says.
    assert_eq!(message.expires_at(), None);
}

#[test]
fn a_number_of_ours_that_is_none_makes_the_message_malformed_and_keeps_its_bytes() {
    let mut table = FieldTable::default();
    table.insert(TIME.into(), AMQPValue::LongString("soon".into()));
    let received = read(&BasicProperties::default().with_headers(table), b"raw".to_vec(), None);
    assert_eq!(received.malformed.unwrap().kind(), ErrorKind::Malformed);
    assert_eq!(received.message.payload().unwrap().as_ref(), b"raw");
}

#[test]
fn what_amqp_cannot_carry_is_refused_by_name() {
    let long = "x".repeat(256);
    for (message, says) in [
        (Message::new("").with_correlation_id(&long), "the correlation id has 256 bytes"),
        (Message::new("").with_header(&long, "v"), "the header name has 256 bytes"),
        (Message::new("").with_header("h", vec![0; 200_000]), "one frame of 131072"),
    ] {
        let error = check(&message, 131_072).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains(says), "{error}");
    }
    check(&full(), 131_072).unwrap();
}

#[test]
fn the_header_frame_is_never_underestimated() {
    for message in [Message::tombstone(), full()] {
        let mut buffer = Vec::new();
        let properties = write(&message, &"polymq:".repeat(7));
        let written = lapin::protocol::basic::gen_properties(&properties)(buffer.into());
        buffer = written.unwrap().into_inner().0;
        assert!(buffer.len() <= header_frame(&message), "{}", buffer.len());
    }
}
