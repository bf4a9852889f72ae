use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use polymq::config::HumanDuration;
use polymq::{Context, Headers, Message, Timestamp};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::BASE64;

/// A delivery as a line of `sub`'s output.
#[derive(Debug, Serialize)]
pub(crate) struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    message_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Bytes<'a>>,
    headers: HeaderMap<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_count: Option<u32>,
    redelivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    channel: &'a str,
    group: &'a str,
    broker: &'a str,
}

impl<'a> Envelope<'a> {
    /// What a handler's context says about the message, on this broker.
    pub(crate) fn new<S>(context: &'a Context<S>, broker: &'a str) -> Self {
        let (message, delivery) = (context.message(), context.delivery());
        let (payload, payload_base64) = split(message);
        Self {
            id: context.id().as_str(),
            message_type: message.message_type(),
            subject: message.subject(),
            key: message.key().map(|key| Bytes(key)),
            headers: HeaderMap(message.headers()),
            payload,
            payload_base64,
            content_type: message.content_type(),
            correlation_id: message.correlation_id(),
            causation_id: message.causation_id(),
            reply_to: message.reply_to(),
            schema_version: message.schema_version(),
            timestamp: message.timestamp(),
            ttl: message.ttl().map(|ttl| HumanDuration(ttl).to_string()),
            deliver_at: message.deliver_at(),
            priority: message.priority(),
            attempt: context.attempt(),
            delivery_count: delivery.delivery_count,
            redelivered: delivery.redelivered,
            position: delivery.position.map(|p| p.to_string()),
            channel: context.channel().as_str(),
            group: context.group().as_str(),
            broker,
        }
    }

    /// The message's headers as one JSON object.
    pub(crate) fn headers_json(&self) -> String {
        serde_json::to_string(&self.headers).unwrap_or_default()
    }

    /// The fields beside headers and payload, by the name that they have in a line, as text.
    pub(crate) fn metadata(&self) -> impl Iterator<Item = (&'static str, Option<Cow<'a, str>>)> {
        let text = |text: Option<&'a str>| text.map(Cow::Borrowed);
        let time = |time: Option<Timestamp>| time.map(|t| Cow::Owned(t.to_string()));
        let number = |number: Option<u32>| number.map(|n| Cow::Owned(n.to_string()));
        [
            ("id", text(Some(self.id))),
            ("type", text(self.message_type)),
            ("subject", text(self.subject)),
            ("key", self.key.as_ref().map(|key| bytes_text(key.0))),
            ("content_type", text(self.content_type)),
            ("correlation_id", text(self.correlation_id)),
            ("causation_id", text(self.causation_id)),
            ("reply_to", text(self.reply_to)),
            ("schema_version", number(self.schema_version)),
            ("timestamp", time(self.timestamp)),
            ("ttl", self.ttl.clone().map(Cow::Owned)),
            ("deliver_at", time(self.deliver_at)),
            ("priority", number(self.priority.map(u32::from))),
            ("attempt", number(Some(self.attempt))),
            ("delivery_count", number(self.delivery_count)),
            ("redelivered", Some(Cow::Owned(self.redelivered.to_string()))),
            ("position", self.position.clone().map(Cow::Owned)),
            ("channel", text(Some(self.channel))),
            ("group", text(Some(self.group))),
            ("broker", text(Some(self.broker))),
        ]
        .into_iter()
    }
}

/// Bytes as text; what is no text, in base 64.
pub(crate) fn bytes_text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(STANDARD.encode(bytes)),
    }
}

#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => s.serialize_str(text),
            Err(_) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry(BASE64, &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

#[derive(Debug)]
struct HeaderMap<'a>(&'a Headers);

impl Serialize for HeaderMap<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(name, value)| (name, Bytes(value))))
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(Box<RawValue>),
    Text(&'a str),
}

/// The payload as JSON or text, or else in base 64.
fn split(message: &Message) -> (Option<Payload<'_>>, Option<String>) {
    let Some(bytes) = message.payload() else { return (None, None) };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return (None, Some(STANDARD.encode(bytes)));
    };
    let json = says_json(message.content_type(), text).then(|| one_line(text)).flatten();
    (Some(json.map_or(Payload::Text(text), Payload::Json)), None)
}

/// Whether the payload may be shown as JSON: it is said to be, or nothing is said and it is an
/// object or a list. A JSON string is shown as the text that travels, quotes included.
fn says_json(content_type: Option<&str>, text: &str) -> bool {
    let first = text.trim_start().chars().next();
    match content_type {
        Some(media_type) => {
            let media_type = media_type.split(';').next().unwrap_or_default().trim();
            let json = media_type == "application/json" || media_type.ends_with("+json");
            json && first != Some('"')
        }
        None => matches!(first, Some('{' | '[')),
    }
}

/// JSON as it is, on one line: an end of line inside JSON is only ever white space.
fn one_line(text: &str) -> Option<Box<RawValue>> {
    let text = text.replace(['\n', '\r'], " ");
    RawValue::from_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &Message) -> String {
        let (payload, base64) = split(message);
        match (payload, base64) {
            (Some(payload), None) => serde_json::to_string(&payload).unwrap(),
            (None, base64) => format!("{base64:?}"),
            both => panic!("{both:?}"),
        }
    }

    #[test]
    fn json_is_shown_as_json_as_it_was_written() {
        assert_eq!(shown(&Message::new("{\"a\":\n 1.50}")), "{\"a\":  1.50}");
        assert_eq!(shown(&Message::new("42").with_content_type("application/json")), "42");
        assert_eq!(shown(&Message::new("{}").with_content_type("application/x+json; a=b")), "{}");
    }

    #[test]
    fn text_is_shown_as_the_text_that_travels() {
        assert_eq!(shown(&Message::new("42")), "\"42\"");
        assert_eq!(shown(&Message::new("{no json")), "\"{no json\"");
        assert_eq!(shown(&Message::new("{}").with_content_type("text/plain")), "\"{}\"");
        let string = Message::new("\"a\"").with_content_type("application/json");
        assert_eq!(shown(&string), r#""\"a\"""#);
    }

    #[test]
    fn bytes_are_in_base_64_and_a_tombstone_has_no_payload() {
        assert_eq!(shown(&Message::new(vec![0xff, 0])), "Some(\"/wA=\")");
        assert_eq!(shown(&Message::tombstone()), "None");
        let bytes = serde_json::to_string(&Bytes(&[0xff])).unwrap();
        assert_eq!(bytes, r#"{"base64":"/w=="}"#);
    }

    #[test]
    fn what_is_shown_is_read_back_as_the_same_bytes() {
        for wire in ["{\"a\": 1.50}", "42", "\"a\"", "plain \u{9b}", "", "null"] {
            for content_type in [None, Some("application/json")] {
                let message = content_type
                    .into_iter()
                    .fold(Message::new(wire), |m, t| m.with_content_type(t));
                let line = format!("{{\"payload\":{}}}", shown(&message));
                let read = super::super::parse(line.as_bytes(), Timestamp::default()).unwrap();
                assert_eq!(read.payload(), message.payload(), "{line}");
            }
        }
    }
}
