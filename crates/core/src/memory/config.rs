use std::time::Duration;

use serde::Deserialize;

use super::error;
use crate::broker::Capability;
use crate::config::{ByteSize, HumanDuration};
use crate::{Error, ErrorKind};

/// How a [`MemoryServer`](super::MemoryServer) behaves: the table `[broker.memory]`.
///
/// ```toml
/// [broker.memory]
/// max_bytes = "256MiB"        # of the whole server
/// max_message_bytes = "1MiB"
/// lease = "30s"
/// max_delay = "15min"         # default: none
/// lacks = ["order-by-key"]    # default: none
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Table")]
#[non_exhaustive]
pub struct MemoryOptions {
    /// The most bytes that the server holds, each message with an overhead of 256 bytes; default
    /// 256 MiB. Retries and dead letters may take a quarter more: a server full of application
    /// messages must not stop those from being worked off.
    pub max_bytes: u64,
    /// The most bytes of one message, headers included; default 1 MiB.
    pub max_message_bytes: usize,
    /// How long a delivery stays its consumer's without being settled or extended; default 30 s.
    pub lease: Duration,
    /// The longest wait in a retry inbox; a longer one is handed out early, as by brokers with
    /// such a ceiling. Default: none.
    pub max_delay: Option<Duration>,
    /// Capabilities that the server pretends to lack, and refuses to use. For tests of what a
    /// service does on a broker without them. Default: none.
    pub lacks: Vec<Capability>,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_message_bytes: 1 << 20,
            lease: Duration::from_secs(30),
            max_delay: None,
            lacks: Vec::new(),
        }
    }
}

impl MemoryOptions {
    /// Sets [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`max_message_bytes`](Self::max_message_bytes).
    #[must_use]
    pub fn with_max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Sets [`lease`](Self::lease).
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets [`max_delay`](Self::max_delay).
    #[must_use]
    pub fn with_max_delay(mut self, ceiling: Duration) -> Self {
        self.max_delay = Some(ceiling);
        self
    }

    /// Adds to [`lacks`](Self::lacks).
    #[must_use]
    pub fn without(mut self, capability: Capability) -> Self {
        self.lacks.push(capability);
        self
    }
}

/// The options as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    max_bytes: Option<ByteSize>,
    max_message_bytes: Option<ByteSize>,
    lease: Option<HumanDuration>,
    max_delay: Option<HumanDuration>,
    #[serde(default)]
    lacks: Vec<String>,
}

impl TryFrom<Table> for MemoryOptions {
    type Error = Error;

    fn try_from(table: Table) -> Result<Self, Error> {
        let default = Self::default();
        let lacks = table.lacks.iter().map(|name| name.parse()).collect::<Result<_, Error>>()?;
        let max_message_bytes = match table.max_message_bytes {
            None => default.max_message_bytes,
            Some(size) => usize::try_from(size.0).unwrap_or(usize::MAX),
        };
        let lease = table.lease.map_or(default.lease, |d| d.0);
        if lease.is_zero() {
            return Err(Error::new(ErrorKind::Config, "`lease` is zero")
                .with_help("give consumers time to settle: 30s is the default"));
        }
        Ok(Self {
            max_bytes: table.max_bytes.map_or(default.max_bytes, |size| size.0),
            max_message_bytes,
            lease,
            max_delay: table.max_delay.map(|d| d.0),
            lacks,
        })
    }
}

/// A channel's own table, `[channels.NAME.memory]`: there is nothing to set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelTable {}

/// The name of the server that a URL means: empty for the adapter's default one.
pub(super) fn server_name(url: &str) -> Result<&str, Error> {
    let Some(name) = url.strip_prefix("memory://") else {
        return Err(error::bad_address("the URL does not begin with `memory://`"));
    };
    let name = name.strip_suffix('/').unwrap_or(name);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.chars().all(plain) {
        return Err(error::bad_address("the URL holds something other than a server's name"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_their_table() {
        let options: MemoryOptions = toml::from_str(
            r#"max_bytes = "1MiB"
               lease = "5s"
               lacks = ["order-by-key", "atomic"]"#,
        )
        .unwrap();
        let wanted = MemoryOptions::default()
            .with_max_bytes(1 << 20)
            .with_lease(Duration::from_secs(5))
            .without(Capability::OrderByKey)
            .without(Capability::Atomic);
        assert_eq!(options, wanted);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (table, says) in [
            ("leases = '5s'", "unknown field `leases`"),
            ("lacks = ['ordr']", "unknown capability `ordr`"),
            ("lease = '0s'", "`lease` is zero"),
        ] {
            let error = toml::from_str::<MemoryOptions>(table).unwrap_err().to_string();
            assert!(error.contains(says), "{table}: {error}");
        }
    }

    #[test]
    fn a_url_names_a_server_and_nothing_else() {
        assert_eq!(server_name("memory://").unwrap(), "");
        assert_eq!(server_name("memory://tests-2/").unwrap(), "tests-2");
        for url in ["amqp://x", "memory://user:secret@host", "memory://a/b"] {
            let error = server_name(url).unwrap_err().to_string();
            assert!(error.contains("memory://NAME") && !error.contains("secret"), "{error}");
        }
    }
}
