//! What a topic is created with, and what of that must hold for one that exists.

use std::collections::BTreeSet;
use std::time::Duration;

use polymq_core::broker::Difference;

/// Nothing is removed for its age or the size of the log.
const FOR_EVER: &str = "-1";

/// A release may lie as far from the moment of its writing as anybody likes.
const ANY_TIME: &str = "9223372036854775807";

/// An inbox's log is removed by segments of this many bytes. Kafka's own are 1 GiB, for each tier.
const INBOX_SEGMENT: &str = "67108864";

/// A configuration of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: String,
    rule: Rule,
}

/// What an existing topic may have instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Nothing: it is a list of words in any order.
    Exactly,
    /// More; -1 is the most.
    AtLeast,
    /// Anything: it is somebody's to tune.
    Anything,
}

impl Setting {
    fn new(name: &'static str, value: impl Into<String>, rule: Rule) -> Self {
        Self { name, value: value.into(), rule }
    }

    /// What differs on a topic that has `found`.
    pub(super) fn difference(&self, found: &str) -> Option<Difference> {
        let agrees = match self.rule {
            Rule::Exactly => words(&self.value) == words(found),
            Rule::AtLeast => amount(found) >= amount(&self.value),
            Rule::Anything => true,
        };
        let field = match self.name {
            "retention.ms" => "retention (`retention.ms` of the topic)".to_owned(),
            name => format!("`{name}`"),
        };
        let (wanted, found) = (self.value.clone(), found.to_owned());
        (!agrees).then_some(Difference { field, wanted, found })
    }
}

fn words(value: &str) -> BTreeSet<&str> {
    value.split(',').map(str::trim).collect()
}

fn amount(value: &str) -> i64 {
    match value.parse() {
        Ok(-1) => i64::MAX,
        Ok(amount) => amount,
        Err(_) => i64::MIN,
    }
}

/// A channel's topic. Without a retention it keeps everything, handled or not: Kafka doesn't tell the two
/// apart.
pub(super) fn channel(retention: Option<Duration>) -> Vec<Setting> {
    let millis = retention.map(|kept| kept.as_millis().to_string());
    kept(vec![
        Setting::new("cleanup.policy", "delete", Rule::Exactly),
        Setting::new("retention.ms", millis.as_deref().unwrap_or(FOR_EVER), Rule::AtLeast),
    ])
}

/// A dead-letter topic: compaction removes what was removed, and `delete` without a retention lets an
/// operator purge the rest.
pub(super) fn dead_letters() -> Vec<Setting> {
    kept(vec![
        Setting::new("cleanup.policy", "compact,delete", Rule::Exactly),
        Setting::new("retention.ms", FOR_EVER, Rule::AtLeast),
    ])
}

/// A retry inbox: a record's timestamp is the moment of its release.
pub(super) fn inbox() -> Vec<Setting> {
    kept(vec![
        Setting::new("cleanup.policy", "delete", Rule::Exactly),
        Setting::new("retention.ms", FOR_EVER, Rule::AtLeast),
        Setting::new("message.timestamp.type", "CreateTime", Rule::Exactly),
        Setting::new("message.timestamp.before.max.ms", ANY_TIME, Rule::AtLeast),
        Setting::new("message.timestamp.after.max.ms", ANY_TIME, Rule::AtLeast),
        Setting::new("segment.bytes", INBOX_SEGMENT, Rule::Anything),
    ])
}

fn kept(mut settings: Vec<Setting>) -> Vec<Setting> {
    settings.push(Setting::new("retention.bytes", FOR_EVER, Rule::AtLeast));
    settings
}

/// With three replicas or more, one may be away while a confirmed message is on two.
pub(super) fn in_sync(replicas: u32) -> Option<Setting> {
    (replicas >= 3).then(|| Setting::new("min.insync.replicas", "2", Rule::Anything))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(settings: &[Setting], name: &str, found: &str) -> Option<Difference> {
        settings.iter().find(|s| s.name == name).unwrap().difference(found)
    }

    #[test]
    fn a_longer_retention_is_no_difference_and_a_shorter_one_is() {
        let hour = channel(Some(Duration::from_secs(3600)));
        for enough in ["3600000", "3600001", "-1"] {
            assert_eq!(difference(&hour, "retention.ms", enough), None, "{enough}");
        }
        let short = difference(&hour, "retention.ms", "3599999").unwrap();
        assert_eq!((short.wanted.as_str(), short.found.as_str()), ("3600000", "3599999"));
        assert!(short.field.starts_with("retention "), "{}", short.field);
        assert!(difference(&channel(None), "retention.ms", "604800000").is_some());
    }

    #[test]
    fn a_topic_that_removes_by_size_or_by_key_loses_messages() {
        assert!(difference(&channel(None), "retention.bytes", "1000000").is_some());
        assert!(difference(&channel(None), "cleanup.policy", "compact,delete").is_some());
        assert_eq!(difference(&dead_letters(), "cleanup.policy", "delete, compact"), None);
    }

    #[test]
    fn an_inbox_that_stamps_records_itself_is_refused() {
        assert!(difference(&inbox(), "message.timestamp.type", "LogAppendTime").is_some());
        assert!(difference(&inbox(), "message.timestamp.after.max.ms", "3600000").is_some());
        assert_eq!(difference(&inbox(), "segment.bytes", "1073741824"), None);
    }
}
