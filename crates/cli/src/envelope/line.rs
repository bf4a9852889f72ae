use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use polymq::config::HumanDuration;
use polymq::{Message, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::BASE64;

/// A line of `pub`'s input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    payload_base64: Option<String>,
    id: Option<String>,
    #[serde(rename = "type")]
    message_type: Option<String>,
    subject: Option<String>,
    key: Option<Value>,
    headers: Option<Map<String, Value>>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    reply_to: Option<String>,
    content_type: Option<String>,
    schema_version: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    ttl: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    deliver_in: Option<Duration>,
    priority: Option<u8>,
    // What `sub` says about the delivery: accepted, so that its lines can be piped into `pub`.
    #[serde(rename = "timestamp")]
    _timestamp: Option<IgnoredAny>,
    #[serde(rename = "deliver_at")]
    _deliver_at: Option<IgnoredAny>,
    #[serde(rename = "attempt")]
    _attempt: Option<IgnoredAny>,
    #[serde(rename = "delivery_count")]
    _delivery_count: Option<IgnoredAny>,
    #[serde(rename = "redelivered")]
    _redelivered: Option<IgnoredAny>,
    #[serde(rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(rename = "channel")]
    _channel: Option<IgnoredAny>,
    #[serde(rename = "group")]
    _group: Option<IgnoredAny>,
    #[serde(rename = "broker")]
    _broker: Option<IgnoredAny>,
}

/// `null` is a payload too.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(d)?;
    let parsed = text.map(|text| text.parse::<HumanDuration>().map(Duration::from));
    parsed.transpose().map_err(D::Error::custom)
}

/// Sets a field of a message.
type Set = fn(Message, String) -> Message;

/// The message that a line of `pub`'s input means.
///
/// # Errors
/// What is wrong with the line, as a sentence.
pub(crate) fn parse(line: &[u8], now: Timestamp) -> Result<Message, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| without_line(&error))?;
    let mut message = match (line.payload, line.payload_base64) {
        (Some(_), Some(_)) => return Err("both `payload` and `payload_base64`".to_owned()),
        (None, None) => Message::tombstone(),
        (None, Some(text)) => Message::new(decode("payload_base64", &text)?),
        (Some(raw), None) => payload(raw)?,
    };
    for (name, value) in line.headers.into_iter().flatten() {
        let value = bytes(&format!("headers.{name}"), value)?;
        message.headers_mut().insert(name, value);
    }
    if let Some(key) = line.key {
        message = message.with_key(bytes("key", key)?);
    }
    let texts: [(Option<String>, Set); 7] = [
        (line.id, Message::with_id),
        (line.message_type, Message::with_type),
        (line.subject, Message::with_subject),
        (line.correlation_id, Message::with_correlation_id),
        (line.causation_id, Message::with_causation_id),
        (line.reply_to, Message::with_reply_to),
        (line.content_type, Message::with_content_type),
    ];
    for (text, set) in texts {
        message = text.into_iter().fold(message, set);
    }
    message = line.schema_version.into_iter().fold(message, Message::with_schema_version);
    message = line.ttl.into_iter().fold(message, Message::with_ttl);
    message = line.priority.into_iter().fold(message, Message::with_priority);
    let due = line.deliver_in.map(|wait| now + wait);
    Ok(due.into_iter().fold(message, Message::with_deliver_at))
}

/// A string travels as its text, anything else as JSON, as it was written.
fn payload(raw: &RawValue) -> Result<Message, String> {
    if !raw.get().starts_with('"') {
        let message = Message::new(raw.get().to_owned());
        return Ok(message.with_content_type("application/json"));
    }
    let text: String = serde_json::from_str(raw.get()).map_err(|e| without_line(&e))?;
    Ok(Message::new(text))
}

/// Text, a number or a boolean as text, or bytes in base 64.
fn bytes(field: &str, value: Value) -> Result<Vec<u8>, String> {
    match value {
        Value::String(text) => Ok(text.into_bytes()),
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        Value::Bool(flag) => Ok(flag.to_string().into_bytes()),
        Value::Object(object) => match (object.len(), object.get(BASE64)) {
            (1, Some(Value::String(text))) => decode(field, text),
            _ => Err(format!("`{field}` is neither text nor {{\"{BASE64}\": \"…\"}}")),
        },
        _ => Err(format!("`{field}` is neither text nor {{\"{BASE64}\": \"…\"}}")),
    }
}

fn decode(field: &str, text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("`{field}` is not base 64: {error}"))
}

/// The parser counts lines within the one that it was given.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    format!("{}, column {}", &text[..end], error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn read(line: &str) -> Message {
        parse(line.as_bytes(), NOW).unwrap()
    }

    fn wrong(line: &str) -> String {
        parse(line.as_bytes(), NOW).unwrap_err()
    }

    #[test]
    fn a_string_travels_as_its_text_and_other_json_as_it_was_written() {
        let wire = |line: &str| String::from_utf8(read(line).payload().unwrap().to_vec()).unwrap();
        assert_eq!(wire(r#"{"payload":"a \"b\"\n"}"#), "a \"b\"\n");
        assert_eq!(wire(r#"{"payload":{"a": 1.50}}"#), r#"{"a": 1.50}"#);
        assert_eq!(wire(r#"{"payload":null}"#), "null");
        assert_eq!(read(r#"{"payload":[1]}"#).content_type(), Some("application/json"));
        assert_eq!(read(r#"{"payload":"x"}"#).content_type(), None);
    }

    #[test]
    fn bytes_come_in_base_64_and_no_payload_is_a_tombstone() {
        assert_eq!(read(r#"{"payload_base64":"/wA="}"#).payload().unwrap().as_ref(), [0xff, 0]);
        assert_eq!(read(r#"{"payload_base64":""}"#).payload().unwrap().len(), 0);
        assert_eq!(read(r#"{"key":"k"}"#).payload(), None);
    }

    #[test]
    fn every_field_of_the_envelope_is_taken() {
        let message = read(
            r#"{"payload":"x","id":"i","type":"t","subject":"s","key":{"base64":"/w=="},
                "headers":{"tenant":"acme","n":7,"raw":{"base64":"AAE="}},"correlation_id":"c",
                "causation_id":"a","reply_to":"r","content_type":"text/plain","schema_version":3,
                "ttl":"90s","deliver_in":"1m","priority":4}"#,
        );
        let wanted = Message::new("x")
            .with_id("i")
            .with_type("t")
            .with_subject("s")
            .with_key(vec![0xff])
            .with_header("n", "7")
            .with_header("raw", vec![0, 1])
            .with_header("tenant", "acme")
            .with_correlation_id("c")
            .with_causation_id("a")
            .with_reply_to("r")
            .with_content_type("text/plain")
            .with_schema_version(3)
            .with_ttl(Duration::from_secs(90))
            .with_deliver_at(Timestamp::from_millis(61_000))
            .with_priority(4);
        assert_eq!(message, wanted);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (line, says) in [
            (r#"{"payload":"x","idd":"1"}"#, "unknown field `idd`"),
            (r#"{"payload":"x""#, "EOF while parsing an object, column 14"),
            (r#"["x"]"#, "invalid"),
            (r#"{"payload":"x","payload_base64":"eA=="}"#, "both"),
            (r#"{"payload_base64":"?"}"#, "`payload_base64` is not base 64"),
            (r#"{"payload":"x","headers":{"a":[1]}}"#, "`headers.a` is neither"),
            (r#"{"payload":"x","ttl":"soon"}"#, "`soon` is not a duration"),
            (r#"{"payload":"x","priority":300}"#, "expected u8"),
        ] {
            let error = wrong(line);
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn what_sub_writes_about_a_delivery_is_accepted() {
        read(r#"{"payload":"x","attempt":2,"redelivered":true,"channel":"a","broker":"default"}"#);
    }
}
