use std::fmt;

use super::Origin;
use super::tree::{Node, Value};

/// A value for [`ConfigBuilder::set`](super::ConfigBuilder::set): text, a number, a boolean or a list of them.
#[derive(Clone)]
pub struct Setting(pub(super) Value);

impl fmt::Debug for Setting {
    /// Says the sort of value only: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.describe())
    }
}

impl From<&str> for Setting {
    fn from(text: &str) -> Self {
        Self(Value::Text(text.to_owned()))
    }
}

impl From<String> for Setting {
    fn from(text: String) -> Self {
        Self(Value::Text(text))
    }
}

impl From<i32> for Setting {
    fn from(number: i32) -> Self {
        Self(Value::Integer(number.into()))
    }
}

impl From<i64> for Setting {
    fn from(number: i64) -> Self {
        Self(Value::Integer(number))
    }
}

impl From<f64> for Setting {
    fn from(number: f64) -> Self {
        Self(Value::Float(number))
    }
}

impl From<bool> for Setting {
    fn from(flag: bool) -> Self {
        Self(Value::Bool(flag))
    }
}

impl<T: Into<Setting>> From<Vec<T>> for Setting {
    fn from(elements: Vec<T>) -> Self {
        let nodes = elements
            .into_iter()
            .map(|element| Node { value: element.into().0, origin: Origin::Code });
        Self(Value::List(nodes.collect()))
    }
}
