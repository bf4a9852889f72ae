use std::borrow::Borrow;
use std::fmt;

use smol_str::SmolStr;

use crate::{Error, ErrorKind};

/// The longest name, in bytes. An adapter whose broker allows less for a physical name shortens it
/// with a hash.
pub const MAX_NAME_LEN: usize = 48;

/// Checks a name that has no type of its own.
pub(crate) fn check(what: &'static str, name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_NAME_LEN {
        "is longer than 48 characters"
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "does not start with a lowercase letter"
    } else if name.contains(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')) {
        "holds a character other than a-z, 0-9 and `-`"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Config, format!("the {what} name `{name}` {problem}"))
        .with_help("names match [a-z][a-z0-9-]* and are at most 48 characters long"))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(SmolStr);

        impl $type {
            /// Checks the name: `[a-z][a-z0-9-]*`, at most [`MAX_NAME_LEN`] characters.
            ///
            /// # Errors
            /// [`ErrorKind::Config`], saying which rule the name breaks.
            pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
                check($what, name.as_ref())?;
                Ok(Self(SmolStr::new(name.as_ref())))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl TryFrom<&str> for $type {
            type Error = Error;
            fn try_from(name: &str) -> Result<Self, Error> {
                Self::new(name)
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self, Error> {
                Self::new(name)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// The logical name of a channel, queue or topic; configuration binds it to a broker.
    ChannelName,
    "channel"
);
name!(
    /// The name of a group: the consumers that share one topic's messages.
    ///
    /// A queue has exactly one group, which carries the queue's own name.
    GroupName,
    "group"
);
name!(
    /// The name of a consumer: a `[consumers.NAME]` table and the handlers registered for it.
    ConsumerName,
    "consumer"
);
name!(
    /// Separates environments and parallel tests on one broker.
    Namespace,
    "namespace"
);

impl Default for Namespace {
    /// `polymq`.
    fn default() -> Self {
        Self(SmolStr::new_static("polymq"))
    }
}

impl From<&ChannelName> for GroupName {
    /// The one group of a queue.
    fn from(queue: &ChannelName) -> Self {
        Self(queue.0.clone())
    }
}

impl From<&ConsumerName> for GroupName {
    /// The group of a topic's consumer that names no other.
    fn from(consumer: &ConsumerName) -> Self {
        Self(consumer.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_breaks_a_rule_says_which() {
        for (name, says) in [
            ("", "is empty"),
            ("Orders", "start with a lowercase letter"),
            ("9-lives", "start with a lowercase letter"),
            ("or_ders", "other than a-z"),
            (&"x".repeat(49), "longer than 48"),
        ] {
            let error = ChannelName::new(name).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
        assert_eq!(ChannelName::new("orders-2").unwrap(), "orders-2");
    }
}
