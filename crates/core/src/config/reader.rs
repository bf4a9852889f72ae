//! Reads one table with typed getters; what is wrong is noted, and reading goes on.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::keys::{Adapters, ROOT, Section, Shape};
use super::problem::{Findings, unknown};
use super::settings::Settings;
use super::tree::{Node, Table, Value};
use super::units::{ByteSize, HumanDuration};
use crate::Error;
use crate::broker::Adapter;

/// One table, the keys that it may have, and where findings go.
///
/// A getter says `None` for a key that is absent and for one that is wrong; only the latter is a
/// problem.
pub(super) struct Reader<'a> {
    table: &'a Table,
    pub(super) path: String,
    pub(super) findings: &'a mut Findings,
    pub(super) adapters: Adapters<'a>,
}

impl<'a> Reader<'a> {
    /// Notes the table's unknown keys.
    pub(super) fn new(
        table: &'a Table,
        path: String,
        section: &Section,
        findings: &'a mut Findings,
        adapters: Adapters<'a>,
    ) -> Self {
        let mut reader = Self { table, path, findings, adapters };
        for key in table.keys() {
            let adapter = section.adapters && adapters.is_table(key);
            if section.shape(key).is_none() && !adapter {
                let (message, fix) = unknown("unknown key", key, section.names());
                reader.problem(key, message, fix);
            }
        }
        reader
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn problem(
        &mut self,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let path = self.path_of(key);
        self.findings.problem(path, message, fix);
    }

    /// Notes a required key that is absent.
    pub(super) fn require(&mut self, key: &str, fix: &str) {
        if !self.has(key) {
            self.problem(key, "missing", fix);
        }
    }

    fn get<T>(
        &mut self,
        key: &str,
        expects: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = &self.table.get(key)?.value;
        let found = read(value);
        if found.is_none() {
            self.mismatch(key, expects, value);
        }
        found
    }

    fn mismatch(&mut self, key: &str, expects: &str, value: &Value) {
        let message = format!("expected {expects}, found {}", value.describe());
        self.problem(key, message, String::new());
    }

    pub(super) fn text(&mut self, key: &str) -> Option<&'a str> {
        self.get(key, "text", text_of)
    }

    /// Text that `T` parses; its error becomes the problem.
    pub(super) fn parsed<T: FromStr<Err = Error>>(
        &mut self,
        key: &str,
        expects: &str,
    ) -> Option<T> {
        let parsed = self.get(key, expects, text_of)?.parse();
        let path = self.path_of(key);
        parsed.map_err(|error| self.findings.refuse(path, &error)).ok()
    }

    /// The table's own name, which its user chose.
    pub(super) fn own_name<T>(&mut self, name: Result<T, Error>) -> Option<T> {
        name.map_err(|error| self.findings.refuse(self.path.clone(), &error)).ok()
    }

    pub(super) fn integer<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let number = self.get(key, "an integer", |value| match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        })?;
        let fitting = Some(number).filter(|n| range.contains(n));
        let fitting = fitting.and_then(|n| T::try_from(n).ok());
        if fitting.is_none() {
            let fix = format!("use {} to {}", range.start(), range.end());
            self.problem(key, format!("{number} is out of range"), fix);
        }
        fitting
    }

    /// A share above 0 and at most 1.
    pub(super) fn share(&mut self, key: &str) -> Option<f64> {
        let share = self.get(key, "a fraction", |value| match value {
            Value::Float(share) => Some(*share),
            Value::Integer(share) => Some(*share as f64),
            _ => None,
        })?;
        if share > 0.0 && share <= 1.0 {
            return Some(share);
        }
        let fix = "use a share above 0 and at most 1, such as 0.5";
        self.problem(key, format!("{share} is out of range"), fix);
        None
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.parsed(key, "a duration such as \"30s\"").map(|HumanDuration(duration)| duration)
    }

    /// A duration above zero.
    pub(super) fn positive(&mut self, key: &str) -> Option<Duration> {
        let duration = self.duration(key)?;
        if duration.is_zero() {
            self.problem(key, "must be longer than zero", String::new());
            return None;
        }
        Some(duration)
    }

    pub(super) fn size(&mut self, key: &str) -> Option<u64> {
        let expects = "a size such as \"64MiB\"";
        if let Some(Node { value: Value::Integer(_), .. }) = self.table.get(key) {
            return self.integer(key, 1..=i64::MAX);
        }
        match self.parsed(key, expects)? {
            ByteSize(0) => {
                self.problem(key, "must be larger than zero", String::new());
                None
            }
            ByteSize(bytes) => Some(bytes),
        }
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let chosen = choices.iter().find(|(name, _)| *name == text);
        if chosen.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            let fix = format!("use {}", names.join(" or "));
            self.problem(key, format!("unknown value \"{text}\""), fix);
        }
        chosen.map(|(_, value)| *value)
    }

    /// One text, or a list of them, each with its path.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<(String, &'a str)>> {
        let expects = "text or a list of texts";
        let path = self.path_of(key);
        match &self.table.get(key)?.value {
            Value::Text(text) => Some(vec![(path, text)]),
            Value::List(elements) => {
                let mut texts = Vec::with_capacity(elements.len());
                for (i, element) in elements.iter().enumerate() {
                    match text_of(&element.value) {
                        Some(text) => texts.push((format!("{path}[{i}]"), text)),
                        None => self.mismatch(&format!("{key}[{i}]"), "text", &element.value),
                    }
                }
                Some(texts)
            }
            other => {
                self.mismatch(key, expects, other);
                None
            }
        }
    }

    /// The table under `key`, with the keys of its section.
    pub(super) fn table(&mut self, key: &str, section: &Section) -> Option<Reader<'_>> {
        let table = self.get(key, "a table", table_of)?;
        let path = self.path_of(key);
        Some(Reader::new(table, path, section, self.findings, self.adapters))
    }

    /// The tables under a key of the top level, by their names.
    pub(super) fn tables(&mut self, key: &str, mut each: impl FnMut(&str, Reader<'_>)) {
        let Some(Shape::Named(section)) = ROOT.shape(key) else {
            return;
        };
        let Some(tables) = self.get(key, "a table", table_of) else {
            return;
        };
        for (name, node) in tables {
            let path = format!("{key}.{name}");
            match table_of(&node.value) {
                Some(table) => {
                    let reader = Reader::new(table, path, section, self.findings, self.adapters);
                    each(name, reader);
                }
                None => self.mismatch(&path, "a table", &node.value),
            }
        }
    }

    /// The numbers under `key`, by names of the user's.
    pub(super) fn numbers<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        range: &RangeInclusive<i64>,
    ) -> Option<Vec<(String, T)>> {
        let table = self.get(key, "a table", table_of)?;
        let path = self.path_of(key);
        let mut inner = Reader { table, path, findings: self.findings, adapters: self.adapters };
        let numbers = table.keys().filter_map(|name| {
            let number = inner.integer(name, range.clone())?;
            Some((name.clone(), number))
        });
        Some(numbers.collect())
    }

    /// The adapters' own tables, by adapter; `check` looks at those whose adapter is there.
    pub(super) fn adapter_tables(
        &mut self,
        check: impl Fn(&dyn Adapter, &Settings) -> Result<(), Vec<Error>>,
    ) -> BTreeMap<String, Settings> {
        let mut tables = BTreeMap::new();
        for name in self.adapters.names_in(self.table) {
            let Some(table) = self.get(name, "a table", table_of) else {
                continue;
            };
            let path = self.path_of(name);
            let origin = self.findings.origins.locate(&path).clone();
            let settings = Settings::new(table.clone(), path.clone(), origin);
            let adapters = self.adapters;
            for adapter in adapters.iter().filter(|a| a.name() == name) {
                for error in check(adapter, &settings).err().unwrap_or_default() {
                    let problem = settings.problem_of(&error);
                    self.findings.problems.push(problem);
                }
            }
            tables.insert(name.to_owned(), settings);
        }
        tables
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn table_of(value: &Value) -> Option<&Table> {
    match value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
