//! The adapter's own tables: `[broker.kafka]` and `[channels.CHANNEL.kafka]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use polymq_core::config::{ByteSize, HumanDuration, Settings};
use polymq_core::{Error, ErrorKind, Result};
use serde::Deserialize;

/// The largest message unless the table says otherwise. The broker's own `message.max.bytes` is
/// 1,048,588 and counts what a batch adds.
const MAX_MESSAGE_BYTES: u64 = 1_000_000;

/// What the broker's own default leaves for a batch's frame and for the headers of retries and dead letters.
const FRAME_BYTES: u64 = 48_588;

/// What a retry copy or a dead letter may have beside its message: within what a batch's frame leaves of that.
const COPY_BYTES: usize = 40_000;

/// What an application may set in `[broker.kafka]`.
///
/// ```toml
/// [broker.kafka]
/// max_message_bytes = "1000kB"     # key, headers and payload; as the topics' own max.message.bytes
/// publish_window = 10000           # unconfirmed messages at most
/// linger = "0ms"                   # how long a batch waits for company
/// compression = "none"             # gzip, snappy, lz4, zstd
/// max_uncommitted = 10000          # acked and not yet committed: what a crash repeats at most
/// commit_interval = "200ms"        # how often offsets are committed
/// session_timeout = "10s"          # after this long a consumer that died loses its partitions
/// revoke_timeout = "30s"           # how long a rebalance waits for handlers
/// sasl = "plain"                   # how user and password of the URL are shown: scram-sha-256, scram-sha-512
/// ca_file = "ca.pem"               # who signed the brokers' certificates, beside the system's roots
/// cert_file = "client.pem"         # mutual TLS: our certificate …
/// key_file = "client.key"          # … and its key
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BrokerTable {
    pub(crate) max_message_bytes: ByteSize,
    pub(crate) publish_window: usize,
    pub(crate) linger: HumanDuration,
    pub(crate) compression: Compression,
    pub(crate) max_uncommitted: usize,
    pub(crate) commit_interval: HumanDuration,
    pub(crate) session_timeout: HumanDuration,
    pub(crate) revoke_timeout: HumanDuration,
    pub(crate) sasl: Mechanism,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

/// How batches are compressed, in Kafka's own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// The value of `compression.type`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// How user and password are shown to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mechanism {
    /// As they are.
    #[default]
    Plain,
    /// By a challenge.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// By a challenge.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl Mechanism {
    /// The value of `sasl.mechanism`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Default for BrokerTable {
    fn default() -> Self {
        Self {
            max_message_bytes: ByteSize(MAX_MESSAGE_BYTES),
            publish_window: 10_000,
            linger: HumanDuration(Duration::ZERO),
            compression: Compression::None,
            max_uncommitted: 10_000,
            commit_interval: HumanDuration(Duration::from_millis(200)),
            session_timeout: HumanDuration(Duration::from_secs(10)),
            revoke_timeout: HumanDuration(Duration::from_secs(30)),
            sasl: Mechanism::Plain,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

impl BrokerTable {
    /// Reads the table, with everything that is wrong in it.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Vec<Error>> {
        let table: Self = settings.parse()?;
        let problems = table.problems();
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }

    /// The largest message: key, headers and payload.
    pub(crate) fn max_message_bytes(&self) -> usize {
        usize::try_from(self.max_message_bytes.0).unwrap_or(usize::MAX)
    }

    /// The largest retry copy or dead letter, which carries more than the message that it is of.
    pub(crate) fn max_copy_bytes(&self) -> usize {
        self.max_message_bytes().saturating_add(COPY_BYTES)
    }

    /// The `max.message.bytes` that topics need, where it is more than the brokers' default.
    pub(crate) fn max_topic_bytes(&self) -> Option<u64> {
        let max = self.max_message_bytes.0;
        (max > MAX_MESSAGE_BYTES).then_some(max + FRAME_BYTES)
    }

    fn problems(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: &'static str, help: &'static str| {
            if wrong {
                problems.push(Error::new(ErrorKind::Config, problem).with_help(help));
            }
        };
        refuse(
            !(1_000..=1_000_000_000).contains(&self.max_message_bytes.0),
            "`max_message_bytes` is outside what librdkafka takes",
            "set it between 1000 and 1000000000 bytes, as the topics' max.message.bytes",
        );
        refuse(
            self.publish_window == 0,
            "`publish_window` is zero",
            "1000 to 10000 is where Kafka is fastest",
        );
        refuse(
            self.max_uncommitted == 0,
            "`max_uncommitted` is zero",
            "1000 to 10000 lets commits keep up with handlers; 1 commits after each message",
        );
        refuse(
            self.linger.0 > Duration::from_secs(1),
            "`linger` is above a second",
            "each lone publish waits that long: 0ms to 5ms is common",
        );
        refuse(
            self.commit_interval.0 > Duration::from_secs(60),
            "`commit_interval` is above a minute",
            "what was handled since is handled again after a crash: 200ms is the default",
        );
        refuse(
            !(Duration::from_secs(6)..=Duration::from_secs(300)).contains(&self.session_timeout.0),
            "`session_timeout` is outside what brokers take",
            "set it between 6s and 300s; brokers narrow it by group.min.session.timeout.ms and group.max.session.timeout.ms",
        );
        refuse(
            self.revoke_timeout.0 > Duration::from_secs(240),
            "`revoke_timeout` is above 240s",
            "the group waits for it at each rebalance, and Kafka gives up on a consumer after 300s",
        );
        refuse(
            self.cert_file.is_some() != self.key_file.is_some(),
            "`cert_file` and `key_file` belong together",
            "set both for mutual TLS, or neither",
        );
        let has_tls = cfg!(feature = "tls");
        refuse(
            (self.ca_file.is_some() || self.cert_file.is_some()) && !has_tls,
            "TLS is not compiled in",
            "enable the feature `tls` of polymq-kafka (`kafka-tls` of polymq), or remove the files",
        );
        refuse(
            self.sasl != Mechanism::Plain && !has_tls,
            "SCRAM is not compiled in",
            "enable the feature `tls` of polymq-kafka (`kafka-tls` of polymq), which brings OpenSSL, or set sasl = \"plain\"",
        );
        problems
    }
}

/// What an application may set in `[channels.CHANNEL.kafka]`: names of topics and consumer groups that
/// exist already. Such a topic is neither created nor changed.
///
/// ```toml
/// [channels.orders.kafka]
/// topic = "legacy.Orders"          # publish and consume here
/// group = "legacy-orders"          # a queue channel: its consumer group
/// groups.mailer = "legacy-mailer"  # a topic channel: the consumer group of this group
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChannelTable {
    pub(crate) topic: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) groups: BTreeMap<String, String>,
}

impl ChannelTable {
    /// Reads the table, with everything that is wrong in it.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Vec<Error>> {
        let table: Self = settings.parse()?;
        let mut problems = Vec::new();
        if let Some(topic) = table.topic.as_deref().filter(|name| !is_topic_name(name)) {
            problems.push(
                Error::new(ErrorKind::Config, format!("`{topic}` cannot be a topic of Kafka"))
                    .with_help("topics have 1 to 249 letters, digits, `.`, `_` and `-`, and are not `.` or `..`"),
            );
        }
        let mut groups = table.group.iter().chain(table.groups.values());
        if groups.any(String::is_empty) {
            problems.push(
                Error::new(ErrorKind::Config, "a consumer group without a name")
                    .with_help("name the group, or remove the key"),
            );
        }
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }
}

fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(legal) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(text: &str) -> Result<BrokerTable, Vec<Error>> {
        BrokerTable::read(&Settings::from_toml(text).unwrap())
    }

    #[test]
    fn an_empty_table_is_the_default() {
        let table = broker("").unwrap();
        assert_eq!(table.max_message_bytes(), 1_000_000);
        assert_eq!(table.compression, Compression::None);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text =
            "max_uncommitted = 0\npublish_window = 0\ncert_file = 'x'\nsession_timeout = '1s'";
        assert!(broker(text).unwrap_err().len() >= 4);
        let unknown = broker("compresion = 'lz4'").unwrap_err();
        assert!(unknown[0].to_string().contains("did you mean `compression`"), "{}", unknown[0]);
    }

    #[test]
    fn mechanisms_have_kafkas_own_names() {
        if cfg!(feature = "tls") {
            assert_eq!(broker("sasl = 'scram-sha-512'").unwrap().sasl.as_str(), "SCRAM-SHA-512");
        } else {
            let refused = broker("sasl = 'scram-sha-512'").unwrap_err();
            assert!(refused[0].to_string().contains("SCRAM is not compiled in"), "{}", refused[0]);
        }
    }

    #[test]
    fn a_name_that_kafka_cannot_carry_is_refused() {
        for name in ["", "..", "a b", &"t".repeat(250)] {
            let table = Settings::from_toml(&format!("topic = '{name}'")).unwrap();
            let errors = ChannelTable::read(&table).unwrap_err();
            assert!(errors[0].to_string().contains("cannot be a topic"), "{}", errors[0]);
        }
    }
}
