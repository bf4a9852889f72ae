//! Who reads the retry inbox: the tiers follow the partitions of the channel.
//!
//! A group that subscribed to both topics would share the sum of their partitions, and one consumer could get
//! all of the channel's and another one only tiers. So it shares the channel's partitions, and whoever has
//! number *p* of them reads the tiers *t* with *t* mod (number of partitions) = *p*, too.
//!
//! Somebody who adds partitions to the topic changes that rule. Until every consumer of the group has seen it,
//! two may read one tier: each commits only what it has handled itself, on from what is committed, so that
//! retries may be handled twice and none is left out.

use polymq_core::{Error, ErrorKind, Result};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;

use super::attachment::PATIENCE;
use super::session::Session;
use super::sources::raw;
use crate::error;
use crate::tiers;

impl Session<'_> {
    /// Partitions of the channel that are coming or going, with the tiers that follow them; `None` while the
    /// brokers don't say how many there are.
    ///
    /// # Errors
    /// When partitions were added: another client follows the new rule.
    pub(super) fn followed(
        &mut self,
        list: &TopicPartitionList,
    ) -> Result<Option<TopicPartitionList>> {
        let Some(count) = self.channel_partitions().map_err(|e| error::native(&e))? else {
            return Ok(None);
        };
        if *self.partitions.get_or_insert(count) != count {
            return Err(Error::new(
                ErrorKind::Disconnected,
                format!("topic `{}` has {count} partitions by now", self.wanted.group.topic),
            )
            .retryable(false));
        }
        Ok(Some(self.with_tiers(list, count)))
    }

    /// Partitions of the channel that are going, with the tiers that followed them.
    pub(super) fn still_followed(&self, list: &TopicPartitionList) -> TopicPartitionList {
        match self.partitions {
            Some(count) => self.with_tiers(list, count),
            None => list.clone(),
        }
    }

    fn with_tiers(&self, list: &TopicPartitionList, count: u32) -> TopicPartitionList {
        let mut all = list.clone();
        for key in self.keys(list) {
            for tier in following(key.partition, count) {
                all.add_partition(&self.wanted.group.inbox, raw(tier));
            }
        }
        all
    }

    fn channel_partitions(&self) -> KafkaResult<Option<u32>> {
        let topic = &*self.wanted.group.topic;
        let metadata = self.client.fetch_metadata(Some(topic), PATIENCE)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let count = found.map_or(0, |found| found.partitions().len());
        Ok(u32::try_from(count).ok().filter(|count| *count > 0))
    }
}

/// The tiers that follow a partition of so many.
fn following(partition: u32, count: u32) -> impl Iterator<Item = u32> {
    (partition..tiers::COUNT).step_by(count.max(1) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_follows_one_partition() {
        for count in [1, 2, 12, 19, 40] {
            let mut all: Vec<u32> = (0..count).flat_map(|p| following(p, count)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..tiers::COUNT).collect::<Vec<_>>(), "{count} partitions");
        }
    }
}
