//! Deserializes a tree with serde, for the adapters' own tables.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::problem::unknown;
use super::tree::Value;

/// A message and a fix. Values are described, never quoted: they may be secrets.
#[derive(Debug)]
pub(super) struct DeError {
    pub(super) message: String,
    pub(super) fix: String,
}

impl DeError {
    fn new(message: String) -> Self {
        let fix = String::new();
        Self { message, fix }
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Str(_) => "text",
            de::Unexpected::Signed(_) | de::Unexpected::Unsigned(_) => "an integer",
            de::Unexpected::Float(_) => "a fraction",
            de::Unexpected::Bool(_) => "a boolean",
            de::Unexpected::Seq => "a list",
            de::Unexpected::Map => "a table",
            _ => "something else",
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let what = format!("unknown value \"{variant}\"");
        let (message, fix) = unknown(&what, variant, expected.iter().copied());
        Self { message, fix }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let (message, fix) = unknown("unknown key", field, expected.iter().copied());
        Self { message, fix }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key `{field}` is missing"))
    }
}

/// A value of the tree, as serde wants it.
#[derive(Clone, Copy)]
pub(super) struct ValueDeserializer<'a>(pub(super) &'a Value);

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = DeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.0 {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::List(elements) => {
                let elements = elements.iter().map(|node| Self(&node.value));
                visitor.visit_seq(SeqDeserializer::new(elements))
            }
            Value::Table(table) => {
                let entries = table.iter().map(|(k, node)| (k.as_str(), Self(&node.value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match self.0 {
            Value::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) => {
                let entries = table.iter().map(|(k, node)| (k.as_str(), Self(&node.value)));
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(entries)))
            }
            other => Err(DeError::new(format!("expected text, found {}", other.describe()))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, DeError> for ValueDeserializer<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
