//! The adapter's own tables: `[broker.rabbitmq]` and `[channels.CHANNEL.rabbitmq]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use polymq_core::config::{ByteSize, HumanDuration, Settings};
use polymq_core::{Error, ErrorKind, Result};
use serde::Deserialize;

/// The largest message unless the table says otherwise: RabbitMQ 4's own `max_message_size`.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// What an application may set in `[broker.rabbitmq]`.
///
/// ```toml
/// [broker.rabbitmq]
/// heartbeat = "10s"                      # a dead connection is noticed after two of them
/// max_message_bytes = "16MiB"            # as the broker's own max_message_size
/// publish_window = 1024                  # unconfirmed messages at most
/// ca_file = "ca.pem"                     # who signs the broker's certificate, beside the system's roots
/// cert_file = "client.pem"               # mutual TLS: our certificate …
/// key_file = "client.key"                # … and its key; read again at every connection
/// auth = "plain"                         # or "external": who we are is in the certificate
/// management = "http://localhost:15672"  # the management plugin, for `depth` and the plan
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BrokerTable {
    pub(crate) heartbeat: HumanDuration,
    pub(crate) max_message_bytes: ByteSize,
    pub(crate) publish_window: usize,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) auth: Auth,
    pub(crate) management: Option<String>,
}

/// How the connection says who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Auth {
    /// User and password.
    #[default]
    Plain,
    /// The client certificate: SASL `EXTERNAL`.
    External,
}

impl Default for BrokerTable {
    fn default() -> Self {
        Self {
            heartbeat: HumanDuration(Duration::from_secs(10)),
            max_message_bytes: ByteSize(MAX_MESSAGE_BYTES as u64),
            publish_window: 1024,
            ca_file: None,
            cert_file: None,
            key_file: None,
            auth: Auth::Plain,
            management: None,
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

    /// The largest payload.
    pub(crate) fn max_message_bytes(&self) -> usize {
        usize::try_from(self.max_message_bytes.0).unwrap_or(usize::MAX)
    }

    /// The heartbeat in seconds, as the protocol has it.
    pub(crate) fn heartbeat_seconds(&self) -> u16 {
        u16::try_from(self.heartbeat.0.as_secs()).unwrap_or(u16::MAX)
    }

    fn problems(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        let mut refuse = |problem: &'static str, help: &'static str| {
            problems.push(Error::new(ErrorKind::Config, problem).with_help(help));
        };
        if self.heartbeat.0 < Duration::from_secs(1) {
            refuse(
                "`heartbeat` is below a second",
                "the protocol counts seconds: 10s is the default",
            );
        }
        if self.publish_window == 0 {
            refuse("`publish_window` is zero", "256 to 1024 is where RabbitMQ is fastest");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            refuse(
                "`cert_file` and `key_file` belong together",
                "set both for mutual TLS, or neither",
            );
        }
        if self.auth == Auth::External && self.cert_file.is_none() {
            refuse(
                "`auth = \"external\"` without a client certificate",
                "set `cert_file` and `key_file`",
            );
        }
        if self.management.is_some() && !cfg!(feature = "management") {
            refuse(
                "`management` is not compiled in",
                "enable the feature `management` of polymq-rabbitmq, or remove the key",
            );
        }
        problems
    }
}

/// What an application may set in `[channels.CHANNEL.rabbitmq]`: names of objects that exist already,
/// and are then neither created nor changed.
///
/// ```toml
/// [channels.orders.rabbitmq]
/// exchange = "legacy.orders"       # publish here
/// routing_key = "order"            # with this key, instead of the message's subject
/// queue = "legacy.orders.q"        # a queue channel: consume here
/// groups.mailer = "legacy.mailer"  # a topic: this group's queue
/// ```
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChannelTable {
    pub(crate) exchange: Option<String>,
    pub(crate) routing_key: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) groups: BTreeMap<String, String>,
}

impl ChannelTable {
    /// Reads the table, with everything that is wrong in it.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Vec<Error>> {
        let table: Self = settings.parse()?;
        let named = [&table.exchange, &table.routing_key, &table.queue];
        let problems: Vec<_> = named
            .into_iter()
            .flatten()
            .chain(table.groups.values())
            .filter(|name| name.len() > 255 || name.is_empty())
            .map(|name| {
                Error::new(
                    ErrorKind::Config,
                    format!("a name of {} bytes cannot be on RabbitMQ", name.len()),
                )
                .with_help("names of exchanges, queues and routing keys have 1 to 255 bytes")
            })
            .collect();
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }
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
        assert_eq!(table.heartbeat_seconds(), 10);
        assert_eq!(table.auth, Auth::Plain);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = "heartbeat = '10ms'\npublish_window = 0\ncert_file = 'x'\nauth = 'external'";
        assert_eq!(broker(text).unwrap_err().len(), 3);
        let unknown = broker("heartbeet = '10s'").unwrap_err();
        assert!(unknown[0].to_string().contains("did you mean `heartbeat`"), "{}", unknown[0]);
    }

    #[test]
    fn a_name_that_amqp_cannot_carry_is_refused() {
        let long = format!("queue = '{}'", "q".repeat(256));
        let errors = ChannelTable::read(&Settings::from_toml(&long).unwrap()).unwrap_err();
        assert!(errors[0].to_string().contains("256 bytes"), "{}", errors[0]);
    }
}
