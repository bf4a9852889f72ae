use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

use crate::{Error, ErrorKind};

/// The longest pattern, in bytes: what an AMQP binding can hold.
pub const MAX_PATTERN_LEN: usize = 255;

/// Which subjects a group of a topic wants to see: words separated by dots, as in `orders.*.placed`.
///
/// `*` stands for exactly one word. `#` stands for zero or more words, and can only be the last
/// one. A message without a subject has no words, so only `#` alone takes it.
///
/// ```
/// use polymq_core::SubjectPattern;
///
/// let pattern: SubjectPattern = "eu.*.placed.#".parse()?;
/// assert!(pattern.matches(Some("eu.orders.placed")));
/// assert!(pattern.matches(Some("eu.orders.placed.by.phone")));
/// assert!(!pattern.matches(Some("eu.placed")));
/// assert!(!pattern.matches(None));
/// # Ok::<(), polymq_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectPattern(SmolStr);

const ONE: &str = "*";
const REST: &str = "#";

impl SubjectPattern {
    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words of the pattern, `*` and `#` among them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether a message with this subject is wanted.
    #[must_use]
    pub fn matches(&self, subject: Option<&str>) -> bool {
        let subject = subject.filter(|s| !s.is_empty());
        let mut words = subject.into_iter().flat_map(|s| s.split('.'));
        for wanted in self.words() {
            match (wanted, words.next()) {
                (REST, _) => return true,
                (_, None) => return false,
                (wanted, Some(word)) if wanted != ONE && wanted != word => return false,
                _ => {}
            }
        }
        words.next().is_none()
    }
}

impl FromStr for SubjectPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let last = text.split('.').count() - 1;
        let wrong = |(at, word): (usize, &str)| match word {
            "" => Some("has an empty word"),
            REST if at < last => Some("has `#` before its end"),
            ONE | REST => None,
            word if word.contains(['*', '#']) => Some("has `*` or `#` inside a word"),
            word if word.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Some("has a word with white space or a control character")
            }
            _ => None,
        };
        let problem = match text.len() > MAX_PATTERN_LEN {
            true => Some("is longer than 255 bytes"),
            false => text.split('.').enumerate().find_map(wrong),
        };
        problem.map_or_else(
            || Ok(Self(SmolStr::new(text))),
            |problem| {
                Err(Error::new(
                    ErrorKind::Config,
                    format!("the subject pattern `{}` {problem}", text.escape_debug()),
                )
                .with_help(
                    "separate words with dots; `*` stands for one word, `#` at the end for any \
                     number of words: \"orders.*.placed\", \"eu.#\"",
                ))
            },
        )
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl serde::Serialize for SubjectPattern {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, subject: Option<&str>) -> bool {
        pattern.parse::<SubjectPattern>().unwrap().matches(subject)
    }

    #[test]
    fn a_star_is_one_word_and_a_hash_is_the_rest() {
        for (pattern, subject, wanted) in [
            ("orders.placed", Some("orders.placed"), true),
            ("orders.placed", Some("orders.placed.eu"), false),
            ("orders.*.placed", Some("orders.eu.placed"), true),
            ("orders.*.placed", Some("orders.placed"), false),
            ("orders.*", Some("orders."), true),
            ("eu.#", Some("eu"), true),
            ("eu.#", Some("eu.a.b.c"), true),
            ("eu.#", Some("europe.a"), false),
            ("*.#", None, false),
            ("#", None, true),
            ("#", Some(""), true),
            ("#", Some("a.b"), true),
        ] {
            assert_eq!(matches(pattern, subject), wanted, "{pattern} {subject:?}");
        }
    }

    #[test]
    fn what_brokers_would_read_differently_is_refused() {
        for (pattern, says) in [
            ("", "empty word"),
            ("a..b", "empty word"),
            ("#.b", "before its end"),
            ("a*", "inside a word"),
            ("a b", "white space"),
            (&"a".repeat(256), "longer"),
        ] {
            let error = pattern.parse::<SubjectPattern>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
