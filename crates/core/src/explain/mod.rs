//! How a channel or a consumer lands on its broker: objects, guarantees, retries, what bounds
//! duplicates, ceilings.
//!
//! Somebody who chooses a broker, or wonders why a message came twice, should not have to read an
//! adapter. What only the adapter knows comes from it as [`ChannelFacts`], the rest follows from the
//! configuration, and both are put into words here: for people as text, for programs as data. The
//! [table of the documentation](capability_table) is made of the same facts.
//!
//! ```
//! use polymq_core::App;
//! use polymq_core::config::Config;
//!
//! let file = "[broker]\nurl = 'memory://'\n[channels.emails]\nkind = 'queue'\n
//!             [consumers.mailer]\nchannel = 'emails'\nretry = { immediate = 0, delayed = 3 }";
//! let config = Config::builder().text("polymq.toml", file).build()?;
//! let mailer = App::new().explain(&config, "mailer", None)?;
//! assert!(mailer.to_string().contains("3 delayed"));
//! # Ok::<(), polymq_core::Error>(())
//! ```

mod ceilings;
mod channel;
mod consumer;
mod table;

use std::fmt;

pub use table::capability_table;

use crate::Result;
use crate::broker::{Capability, ChannelFacts, ChannelKind, ObjectFact};
use crate::config::Config;

/// Something that is said about one thing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Statement {
    /// What it is about: `order`.
    pub about: &'static str,
    /// What is so: the end of a sentence.
    pub says: String,
}

fn statement(about: &'static str, says: impl Into<String>) -> Statement {
    Statement { about, says: says.into() }
}

/// Something that the broker cannot do for the channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lack {
    /// The capability.
    pub capability: &'static str,
    /// Why.
    pub reason: String,
}

/// A channel or a consumer, explained. Prints as text for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// `channel` or `consumer`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The channel: itself, or what the consumer consumes.
    pub channel: String,
    /// `queue` or `topic`.
    pub kind: &'static str,
    /// The consumer's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The broker's name in the configuration.
    pub broker: String,
    /// The product and the version that this is about.
    pub product: String,
    /// The objects on the broker.
    pub objects: Vec<ObjectFact>,
    /// What holds.
    pub guarantees: Vec<Statement>,
    /// What follows a failure. Empty for a channel.
    pub retries: Vec<Statement>,
    /// What bounds how many messages can come twice.
    pub duplicates: Vec<Statement>,
    /// The broker's limits.
    pub ceilings: Vec<Statement>,
    /// What the broker cannot do for the channel.
    pub lacks: Vec<Lack>,
}

/// Explains a channel, or a consumer, from the facts about the channel.
///
/// # Errors
/// `NotFound` for a name that is neither.
pub fn explain(config: &Config, name: &str, facts: &ChannelFacts) -> Result<Explanation> {
    match config.consumers.get(name) {
        Some(consumer) => consumer::explain(config, consumer, facts),
        None => Ok(channel::explain(config, config.channel(name)?, facts)),
    }
}

fn kind(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Queue => "queue",
        ChannelKind::Topic => "topic",
    }
}

fn lacks(facts: &ChannelFacts) -> Vec<Lack> {
    let lack = |capability: &Capability| {
        let denial = facts.capabilities.denial(*capability)?;
        Some(Lack { capability: capability.as_str(), reason: denial.reason })
    };
    Capability::ALL.iter().filter_map(lack).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.what, self.name)?;
        match &self.group {
            None => write!(f, ": a {}", self.kind)?,
            Some(group) => {
                write!(f, ": group `{group}` of the {} `{}`", self.kind, self.channel)?;
            }
        }
        write!(f, ", on {} (broker `{}`)", self.product, self.broker)?;
        let objects = self.objects.iter().map(|o| (o.kind, format!("{}: {}", o.name, o.purpose)));
        section(f, "objects", objects)?;
        for (title, statements) in [
            ("guarantees", &self.guarantees),
            ("retries", &self.retries),
            ("duplicates", &self.duplicates),
            ("ceilings", &self.ceilings),
        ] {
            section(f, title, statements.iter().map(|s| (s.about, s.says.clone())))?;
        }
        section(f, "lacks", self.lacks.iter().map(|l| (l.capability, l.reason.clone())))
    }
}

/// A title and its lines, unless there are none.
fn section<'a>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl Iterator<Item = (&'a str, String)>,
) -> fmt::Result {
    for (i, (about, says)) in lines.enumerate() {
        if i == 0 {
            write!(f, "\n\n{title}")?;
        }
        write!(f, "\n  {about:<20}{says}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::App;
    use crate::config::Config;

    fn explained(consumer: &str) -> String {
        let text = format!(
            "[broker]\nurl = 'memory://'\n[channels.emails]\nkind = 'queue'\n[channels.orders]\n\
             kind = 'queue'\norder_by = 'key'\n[consumers.c]\n{consumer}"
        );
        let config = Config::builder().text("polymq.toml", text).build().unwrap();
        App::new().explain(&config, "c", None).unwrap().to_string()
    }

    #[test]
    fn a_retry_waits_in_the_broker_unless_it_holds_its_key() {
        assert!(explained("channel = 'emails'").contains("in the group's retry inbox"));
        assert!(
            explained("channel = 'orders'").contains("in the process, holding the message's key")
        );
    }

    #[test]
    fn what_is_acked_before_is_neither_retried_nor_repeated() {
        let text = explained("channel = 'emails'\nack = 'before'");
        assert!(text.contains("at most once") && text.contains("handled is lost"), "{text}");
        assert!(!text.contains("after a delay"), "{text}");
    }

    #[test]
    fn the_bounds_name_the_keys_that_set_them() {
        let text = explained("channel = 'emails'\nprefetch = 300");
        assert!(text.contains("at most the 300 messages in hand (consumers.c.prefetch)"), "{text}");
        assert!(text.contains("1024 unconfirmed messages (publish.window)"), "{text}");
    }
}
