//! Where newly assigned partitions are read from, and in how many starts the message there was handed out.

use polymq_core::{Error, Origin};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::attachment::PATIENCE;
use super::session::Session;
use super::sources::raw;
use crate::error;
use crate::settle::{Key, Start};

/// What stands before the count in the metadata of a committed offset.
const STARTS: &str = "polymq-starts=";

/// The metadata of a committed offset.
pub(super) fn write(starts: u32) -> String {
    match starts {
        0 => String::new(),
        starts => format!("{STARTS}{starts}"),
    }
}

/// The count in the metadata of a committed offset; somebody else's says nothing.
fn read(metadata: &str) -> u32 {
    metadata.strip_prefix(STARTS).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// A committed offset with its count.
type Place = (i64, u32);

/// What becomes of newly assigned partitions.
#[derive(Debug, Default)]
pub(super) struct Placement {
    pub(super) starts: Vec<Start>,
    /// Those that cannot be read, as nobody knows from where.
    pub(super) refused: Vec<Key>,
}

impl Session<'_> {
    /// Decides where each is read from: where the group left off; else, on a retry inbox and on a partition
    /// that is newer than the group, from the beginning. So is a topic that was made anew, whatever is
    /// committed there: a commit for the old one may have come late.
    ///
    /// # Errors
    /// When the brokers don't answer.
    pub(super) fn place(&self, list: &TopicPartitionList) -> KafkaResult<Placement> {
        let mut placement = Placement::default();
        if list.count() == 0 {
            return Ok(placement);
        }
        let is_anew = self.shared.lock().is_channel_anew;
        let mut is_known = None;
        for (key, committed) in self.committed(list)? {
            let is_anew = is_anew && key.origin == Origin::Channel;
            if let Some((offset, starts)) = committed.filter(|_| !is_anew) {
                placement.starts.push(Start { key, offset, starts: Some(starts) });
                continue;
            }
            let is_new = key.origin == Origin::RetryInbox
                || is_anew
                || match is_known {
                    Some(is_known) => is_known,
                    None => *is_known.insert(self.is_group_known()?),
                };
            if is_new {
                let (topic, partition) = (self.topic(key), raw(key.partition));
                let (low, _) = self.client.fetch_watermarks(topic, partition, PATIENCE)?;
                placement.starts.push(Start { key, offset: low, starts: None });
            } else {
                placement.refused.push(key);
            }
        }
        Ok(placement)
    }

    /// The error of a group that Kafka has forgotten.
    pub(super) fn no_offsets(&self) -> Error {
        error::no_offsets(&self.wanted.group.id, &self.wanted.group.topic)
    }

    /// Whether the group has come anywhere on the channel's topic.
    fn is_group_known(&self) -> KafkaResult<bool> {
        let topic = &*self.wanted.group.topic;
        let metadata = self.client.fetch_metadata(Some(topic), PATIENCE)?;
        let mut all = TopicPartitionList::new();
        for found in metadata.topics().iter().filter(|found| found.name() == topic) {
            for partition in found.partitions() {
                all.add_partition(topic, partition.id());
            }
        }
        Ok(self.committed(&all)?.iter().any(|(_, committed)| committed.is_some()))
    }

    fn committed(&self, list: &TopicPartitionList) -> KafkaResult<Vec<(Key, Option<Place>)>> {
        let mut wanted = TopicPartitionList::new();
        for element in list.elements() {
            wanted.add_partition(element.topic(), element.partition());
        }
        let list = self.client.committed_offsets(wanted, PATIENCE)?;
        let mut committed = Vec::new();
        for element in list.elements() {
            element.error()?;
            let Some(key) = self.key(&element) else { continue };
            let place = match element.offset() {
                Offset::Offset(offset) => Some((offset, read(element.metadata()))),
                _ => None,
            };
            committed.push((key, place));
        }
        Ok(committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_as_it_was_written_and_nothing_else_is() {
        for starts in [0, 1, 7, u32::MAX] {
            assert_eq!(read(&write(starts)), starts);
        }
        for foreign in ["", "7", "polymq-starts=", "polymq-starts=x", "NO_METADATA"] {
            assert_eq!(read(foreign), 0, "{foreign}");
        }
    }
}
