//! A configuration as a tree that remembers where each key was written.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Origins, Problem};

/// A key's value, and where its key (of a list's element: the element) was written.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Has no `Debug`: it may hold secrets.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
}

pub(super) type Table = BTreeMap<String, Node>;

impl PartialEq for Node {
    /// Compares what is said, not where.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Value {
    /// What it is, without saying its content.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a fraction",
            Self::Bool(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// Reads one TOML value; `None` if the text is not one. Every node in it gets `origin`.
    pub(super) fn parse(text: &str, origin: &Origin) -> Option<Self> {
        let value = DeValue::parse(text).ok()?;
        let converter = Converter { origin: &|_| origin.clone() };
        converter.value(&value).ok()
    }
}

/// Reads a TOML document: its table, and where it begins.
pub(super) fn parse(name: &str, text: &str) -> Result<(Table, Origin), Problem> {
    let locate = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            name: name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    };
    // Only the parser's message: its Display quotes the line, which may hold a password.
    let document = DeTable::parse(text).map_err(|error| Problem {
        origin: locate(error.span().map_or(0, |span| span.start)),
        path: String::new(),
        message: format!("not valid TOML: {}", error.message().trim()),
        fix: String::new(),
    })?;
    let converter = Converter { origin: &locate };
    Ok((converter.table(document.get_ref())?, locate(0)))
}

struct Converter<'a> {
    /// The origin of a byte offset.
    origin: &'a dyn Fn(usize) -> Origin,
}

impl Converter<'_> {
    fn table(&self, table: &DeTable<'_>) -> Result<Table, Problem> {
        table
            .iter()
            .map(|(key, value)| {
                let node =
                    Node { value: self.value(value)?, origin: (self.origin)(key.span().start) };
                Ok((key.get_ref().to_string(), node))
            })
            .collect()
    }

    fn value(&self, spanned: &Spanned<DeValue<'_>>) -> Result<Value, Problem> {
        let start = spanned.span().start;
        let out_of_range = || Problem {
            origin: (self.origin)(start),
            path: String::new(),
            message: "the number is out of range".to_owned(),
            fix: "use a number that fits 64 bits".to_owned(),
        };
        Ok(match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::Integer)
                .map_err(|_| out_of_range())?,
            DeValue::Float(number) => {
                number.as_str().parse().map(Value::Float).map_err(|_| out_of_range())?
            }
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(moment) => Value::Text(moment.to_string()),
            DeValue::Array(elements) => Value::List(
                elements
                    .iter()
                    .map(|element| {
                        Ok(Node {
                            value: self.value(element)?,
                            origin: (self.origin)(element.span().start),
                        })
                    })
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(table) => Value::Table(self.table(table)?),
        })
    }
}

/// Lays `over` on `base`: tables are merged, anything else is replaced.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key), node.value) {
            (Some(Node { value: Value::Table(below), .. }), Value::Table(above)) => {
                merge(below, above);
            }
            (_, value) => {
                let origin = node.origin;
                base.insert(key, Node { value, origin });
            }
        }
    }
}

/// Sets one key, making the tables on the way; fails with the part of the path that is no table.
pub(super) fn insert(root: &mut Table, path: &[String], node: Node) -> Result<(), String> {
    let Some((key, tables)) = path.split_last() else {
        return Err(String::new());
    };
    let mut table = root;
    for (depth, part) in tables.iter().enumerate() {
        let next = table.entry(part.clone()).or_insert_with(|| Node {
            value: Value::Table(Table::new()),
            origin: node.origin.clone(),
        });
        match &mut next.value {
            Value::Table(inner) => table = inner,
            _ => return Err(path[..=depth].join(".")),
        }
    }
    merge(table, Table::from([(key.clone(), node)]));
    Ok(())
}

/// Where each key of the tree comes from; a list's elements are called `key[0]`, `key[1]`.
pub(super) fn origins(root: &Table, whole: Origin) -> Origins {
    fn record(origins: &mut Origins, path: String, node: &Node) {
        match &node.value {
            Value::Table(table) => {
                for (key, node) in table {
                    record(origins, format!("{path}.{key}"), node);
                }
            }
            Value::List(elements) => {
                for (i, node) in elements.iter().enumerate() {
                    record(origins, format!("{path}[{i}]"), node);
                }
            }
            _ => {}
        }
        origins.insert(path, node.origin.clone());
    }
    let mut origins = Origins::new(whole);
    for (key, node) in root {
        record(&mut origins, key.clone(), node);
    }
    origins
}
