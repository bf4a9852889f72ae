use std::fmt;

use serde::de::DeserializeOwned;

use super::de::{DeError, ValueDeserializer};
use super::problem::{Origin, Problem};
use super::tree::{self, Table, Value};
use crate::{Error, ErrorKind};

/// An adapter's own table in the configuration: `[broker.kafka]`, `[channels.orders.kafka]`.
///
/// The core doesn't know its keys: the adapter reads it with [`parse`](Settings::parse). Two are
/// equal when they say the same, wherever it was written. `Debug` shows the keys but no values,
/// which may be secrets.
///
/// ```
/// use polymq_core::config::{HumanDuration, Settings};
///
/// #[derive(serde::Deserialize, Default)]
/// #[serde(deny_unknown_fields, default)]
/// struct KafkaChannel {
///     topic: Option<String>,
///     linger: HumanDuration,
/// }
///
/// let settings = Settings::from_toml("topic = 'legacy.Orders'")?;
/// let channel: KafkaChannel = settings.parse().map_err(|mut errors| errors.remove(0))?;
/// assert_eq!(channel.topic.as_deref(), Some("legacy.Orders"));
///
/// let settings = Settings::from_toml("topik = 'legacy.Orders'")?;
/// let errors = settings.parse::<KafkaChannel>().err().unwrap();
/// assert_eq!(
///     errors[0].to_string(),
///     "settings:1:1: topik: unknown key; did you mean `topic`?"
/// );
/// # Ok::<(), polymq_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    path: String,
    origin: Origin,
    table: Table,
}

impl Default for Settings {
    /// An empty table, which a table that isn't there is too.
    fn default() -> Self {
        Self::new(Table::new(), String::new(), Origin::Code)
    }
}

impl Settings {
    pub(super) fn new(table: Table, path: String, origin: Origin) -> Self {
        Self { path, origin, table }
    }

    /// Reads a table from TOML, for an adapter's tests. Its errors call the text `settings`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for text that is not TOML.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let (table, origin) = tree::parse("settings", text).map_err(error_of)?;
        Ok(Self::new(table, String::new(), origin))
    }

    /// Reads the table as `T`, which has `#[serde(deny_unknown_fields, default)]`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], one for each of the table's keys that is wrong, each with file, line
    /// and key. A value is never quoted unless `T`'s own types do it.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Vec<Error>> {
        let mut table = Value::Table(self.table.clone());
        let mut errors = Vec::new();
        // serde stops at the first error: what follows is read without the key that caused it.
        loop {
            match serde_path_to_error::deserialize(ValueDeserializer(&table)) {
                Ok(parsed) if errors.is_empty() => return Ok(parsed),
                Ok(_) => return Err(errors),
                Err(error) => {
                    let path = error.path().to_string();
                    errors.push(error_of(self.problem_at(&path, error.into_inner())));
                    let key = path.split(['.', '[']).next().unwrap_or_default();
                    let removed = match &mut table {
                        Value::Table(keys) => keys.remove(key),
                        _ => None,
                    };
                    if removed.is_none() {
                        return Err(errors);
                    }
                }
            }
        }
    }

    fn problem_at(&self, path: &str, error: DeError) -> Problem {
        let path = if path == "." { "" } else { path };
        let origins = tree::origins(&self.table, self.origin.clone());
        let mut problem = origins.problem(path, error.message, error.fix);
        problem.path = match (self.path.as_str(), path) {
            ("", path) => path.to_owned(),
            (table, "") => table.to_owned(),
            (table, path) => format!("{table}.{path}"),
        };
        problem
    }

    /// An adapter's complaint about this table: at the key if it came from
    /// [`parse`](Settings::parse), else at the table.
    pub(super) fn problem_of(&self, error: &Error) -> Problem {
        let at_key = std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<Problem>())
            .cloned();
        at_key.unwrap_or_else(|| Problem {
            origin: self.origin.clone(),
            path: self.path.clone(),
            message: error.message().to_owned(),
            fix: error.help().unwrap_or_default().to_owned(),
        })
    }
}

fn error_of(problem: Problem) -> Error {
    Error::new(ErrorKind::Config, problem.to_string()).with_source(problem)
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::{ByteSize, HumanDuration};

    #[derive(Deserialize, Default, Debug)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        topic: String,
        linger: HumanDuration,
        buffer: ByteSize,
        mode: Option<Mode>,
        inner: Inner,
    }

    #[derive(Deserialize, Default, Debug)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        password: String,
        ports: Vec<u16>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        Fast,
        VerySafe,
    }

    #[test]
    fn human_values_and_nested_tables_are_read() {
        let text = "linger = '5ms'\nbuffer = '1MiB'\nmode = 'very-safe'\ninner.ports = [1, 2]";
        let sample: Sample = Settings::from_toml(text).unwrap().parse().unwrap();
        assert_eq!(sample.linger.to_string(), "5ms");
        assert_eq!(sample.buffer, ByteSize(1 << 20));
        assert_eq!(sample.mode, Some(Mode::VerySafe));
        assert_eq!(sample.inner.ports, [1, 2]);
        assert_eq!((sample.topic, sample.inner.password), Default::default());
    }

    #[test]
    fn every_wrong_key_is_reported_with_its_place_and_without_its_value() {
        let text = "topic = 7\nlinger = '5'\nmode = 'safe'\n[inner]\nports = ['hunter2']";
        let errors = Settings::from_toml(text).unwrap().parse::<Sample>();
        let mut errors: Vec<_> = errors.unwrap_err().iter().map(Error::to_string).collect();
        errors.sort();
        assert_eq!(
            errors,
            [
                "settings:1:1: topic: expected a string, found an integer",
                "settings:2:1: linger: `5` is not a duration (help: write a number and a unit, \
                 such as \"250ms\", \"30s\", \"5m\" or \"7d\")",
                "settings:3:1: mode: unknown value \"safe\"; fix: use one of fast, very-safe",
                "settings:5:10: inner.ports[0]: expected u16, found text",
            ]
        );
    }

    #[test]
    fn debug_shows_no_values() {
        let settings = Settings::from_toml("password = 'hunter2'").unwrap();
        assert_eq!(format!("{settings:?}"), "{\"password\"}");
    }

    #[test]
    fn equal_tables_are_equal_wherever_they_were_written() {
        let a = Settings::from_toml("x = 1\ny = 2").unwrap();
        let b = Settings::from_toml("\ny = 2\nx = 1").unwrap();
        assert_eq!(a, b);
        assert_ne!(a, Settings::default());
    }
}
