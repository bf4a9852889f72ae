use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::clock::FAR;
use crate::{Error, ErrorKind};

/// A length of time as people write it: `"30s"`, `"1h 30m"`, `"7d"`. At most 30 years.
///
/// For adapters' own tables (see [`Settings::parse`](super::Settings::parse)).
///
/// ```
/// use std::time::Duration;
/// use polymq_core::config::HumanDuration;
///
/// let d: HumanDuration = "90s".parse()?;
/// assert_eq!(d.0, Duration::from_secs(90));
/// assert_eq!(d.to_string(), "1m 30s");
/// # Ok::<(), polymq_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let problem = match humantime::parse_duration(text.trim()) {
            Ok(duration) if duration <= FAR => return Ok(Self(duration)),
            Ok(_) => "is longer than 30 years",
            Err(_) => "is not a duration",
        };
        Err(Error::new(ErrorKind::Config, format!("`{text}` {problem}"))
            .with_help("write a number and a unit, such as \"250ms\", \"30s\", \"5m\" or \"7d\""))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl From<HumanDuration> for Duration {
    fn from(human: HumanDuration) -> Self {
        human.0
    }
}

/// A number of bytes as people write it: `"64MiB"`, `"10kB"`, or an integer.
///
/// `kB`, `MB`, `GB`, `TB` are powers of 1000, `KiB`, `MiB`, `GiB`, `TiB` of 1024. For adapters' own
/// tables (see [`Settings::parse`](super::Settings::parse)).
///
/// ```
/// use polymq_core::config::ByteSize;
///
/// let size: ByteSize = "64MiB".parse()?;
/// assert_eq!(size.0, 64 << 20);
/// assert_eq!(size.to_string(), "64MiB");
/// # Ok::<(), polymq_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &trimmed[digits.len()..] {
            "" => Some(1),
            unit => UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, bytes)| *bytes),
        };
        let number = digits.trim_end().parse::<u64>().ok();
        number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit)).map(Self).ok_or_else(
            || {
                Error::new(ErrorKind::Config, format!("`{text}` is not a size"))
                    .with_help("write a whole number and a unit, such as \"64MiB\" or \"10kB\"")
            },
        )
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |unit: &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(unit.1);
        let (name, bytes) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / bytes)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Human { expects: "a duration such as \"30s\"", of_integer: |_| None })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Human {
            expects: "a size such as \"64MiB\"",
            of_integer: |bytes| Some(Self(bytes)),
        })
    }
}

struct Human<T> {
    expects: &'static str,
    of_integer: fn(u64) -> Option<T>,
}

impl<T: FromStr<Err = Error>> Visitor<'_> for Human<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expects)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.of_integer)(number)
            .ok_or_else(|| E::invalid_type(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_type(de::Unexpected::Signed(number), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_decimal_and_binary_units() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("10kB", 10_000), ("10 KiB", 10_240), ("1gib", 1 << 30)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
        }
        for text in ["", "kB", "1.5MiB", "-1", "1XB", "99999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_unit_that_divides_them() {
        for text in ["0B", "1001B", "10kB", "64MiB", "3TiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_duration_that_no_timer_can_hold_is_refused() {
        let error = "1000y".parse::<HumanDuration>().unwrap_err();
        assert_eq!(error.message(), "`1000y` is longer than 30 years");
    }
}
