//! Header values: bytes in the model, typed on the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value};

/// A header's value as bytes: text and bytes as they are, numbers in decimal, `true` and `false`, tables
/// and arrays as JSON.
pub(super) fn bytes(value: &AMQPValue) -> Bytes {
    match value {
        AMQPValue::LongString(text) => Bytes::copy_from_slice(text.as_bytes()),
        AMQPValue::ShortString(text) => Bytes::copy_from_slice(text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => Bytes::copy_from_slice(bytes.as_slice()),
        AMQPValue::Void => Bytes::new(),
        other => match json(other) {
            Value::String(text) => text.into(),
            value => value.to_string().into(),
        },
    }
}

/// An integer, whatever its width, or digits.
pub(super) fn integer(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::ShortShortInt(n) => u64::try_from(*n).ok(),
        AMQPValue::ShortShortUInt(n) => Some(u64::from(*n)),
        AMQPValue::ShortInt(n) => u64::try_from(*n).ok(),
        AMQPValue::ShortUInt(n) => Some(u64::from(*n)),
        AMQPValue::LongInt(n) => u64::try_from(*n).ok(),
        AMQPValue::LongUInt(n) => Some(u64::from(*n)),
        AMQPValue::LongLongInt(n) => u64::try_from(*n).ok(),
        AMQPValue::Timestamp(n) => Some(*n),
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        AMQPValue::ShortString(text) => text.as_str().parse().ok(),
        _ => None,
    }
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(b) => (*b).into(),
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        AMQPValue::Timestamp(n) => (*n).into(),
        AMQPValue::Float(n) => f64::from(*n).into(),
        AMQPValue::Double(n) => (*n).into(),
        AMQPValue::DecimalValue(n) => (f64::from(n.value) / 10_f64.powi(i32::from(n.scale))).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => of_bytes(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => of_bytes(bytes.as_slice()),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => Value::Object(object(table)),
        AMQPValue::Void => Value::Null,
    }
}

fn object(table: &FieldTable) -> Map<String, Value> {
    table.into_iter().map(|(name, value)| (name.as_str().to_owned(), json(value))).collect()
}

/// Text as it is; other bytes, which JSON cannot hold, in base64.
fn of_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => STANDARD.encode(bytes).into(),
    }
}
