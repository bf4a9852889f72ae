use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};

use crate::{Error, ErrorKind};

/// An adapter's own table in the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings(toml::Table);

impl Settings {
    /// Reads the table.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Vec<Error>> {
        toml::Value::Table(self.0.clone())
            .try_into()
            .map_err(|e: toml::de::Error| {
                vec![Error::new(ErrorKind::Config, e.message().to_owned())]
            })
    }
}

/// Bytes, such as `256MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let (number, factor) = match text.strip_suffix("MiB") {
            Some(number) => (number, 1 << 20),
            None => (text.as_str(), 1),
        };
        number
            .parse::<u64>()
            .map(|n| Self(n * factor))
            .map_err(D::Error::custom)
    }
}

/// A duration, such as `30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        humantime::parse_duration(&text)
            .map(Self)
            .map_err(D::Error::custom)
    }
}
