//! A client that an operator's errand uses for itself, on a thread that may wait.
//!
//! Each errand makes one, asks, and ends it: nothing of an operator stays connected between two of them, and
//! the password is as fresh as the errand. librdkafka reads and commits a group's offsets only as that
//! group, so an errand about a group has a client of that group, which never joins it.

use std::time::Duration;

use polymq_core::broker::EventSender;
use polymq_core::{Error, ErrorKind, Result};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::context::Watch;
use crate::error;
use crate::target::Target;

/// How long a connection is waited for before somebody looks why there is none.
const GLANCE: Duration = Duration::from_millis(250);

/// How long librdkafka may take to say why.
const MURMUR: Duration = Duration::from_millis(20);

/// An offset of each partition, which are numbered from zero.
pub(crate) type Offsets = Vec<Option<i64>>;

/// How a topic stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicState {
    pub(crate) partitions: u32,
    /// Of the partition that has the fewest.
    pub(crate) replicas: u32,
    /// Every partition has a leader: it can be written and read.
    pub(crate) is_ready: bool,
}

/// One errand's client. All of its calls wait, until the errand's deadline at the latest.
pub(crate) struct Session {
    config: ClientConfig,
    client: BaseConsumer<Watch>,
    deadline: Instant,
}

impl Session {
    /// Connects, as `group` where the errand is about one.
    ///
    /// # Errors
    /// `Unauthenticated` as soon as the brokers refuse us; the reason why there is no connection at the
    /// deadline.
    pub(crate) fn open(target: &Target, group: Option<&str>, deadline: Instant) -> Result<Self> {
        let config = target.client("operator")?;
        let mut as_consumer = config.clone();
        as_consumer
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "8192");
        if let Some(group) = group {
            as_consumer.set("group.id", group);
        }
        let watch = Watch::new(target.broker(), EventSender::default());
        let client = as_consumer.create_with_context(watch).map_err(|e| error::client(&e))?;
        let session = Self { config, client, deadline };
        session.meet(target.namespace())?;
        Ok(session)
    }

    /// Waits for an answer. The question is about one topic, which needn't exist, as the answer about all of
    /// them can be large.
    pub(crate) fn meet(&self, topic: &str) -> Result<()> {
        let mut patience = GLANCE;
        loop {
            let asked = self.client.fetch_metadata(Some(topic), patience.min(self.left()));
            let Err(refusal) = asked else { return Ok(()) };
            let reason = self.reason();
            if let Some(reason) = reason
                && (reason.kind() == ErrorKind::Unauthenticated || self.left().is_zero())
            {
                return Err(match reason.kind() {
                    ErrorKind::Unauthenticated => reason,
                    _ => error::away(Some(reason)),
                });
            }
            if self.left().is_zero() {
                return Err(error::away(None).with_source(refusal));
            }
            // A broker that refuses the connection answers at once.
            std::thread::sleep(MURMUR);
            patience *= 2;
        }
    }

    /// What librdkafka has said so far; that credentials are wrong outweighs that nobody is there.
    fn reason(&self) -> Option<Error> {
        let mut reason = None;
        while self.client.poll(MURMUR).is_some() {
            reason = self.client.context().reason();
            if reason.as_ref().is_some_and(|e| e.kind() == ErrorKind::Unauthenticated) {
                break;
            }
        }
        reason.or_else(|| self.client.context().reason())
    }

    /// The client itself, to read with.
    pub(crate) fn client(&self) -> &BaseConsumer<Watch> {
        &self.client
    }

    /// The time until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Gives the errand, or its next step, until then.
    pub(crate) fn extend(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// How a topic stands; `None` if it doesn't exist.
    pub(crate) fn topic(&self, name: &str) -> Result<Option<TopicState>> {
        let found = self
            .client
            .fetch_metadata(Some(name), self.left())
            .map_err(|e| of_topic(error::native(&e), name))?;
        let Some(topic) = found.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        match topic.error().map(Code::from) {
            None | Some(Code::LeaderNotAvailable) => {}
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Ok(None),
            Some(code) => return Err(of_topic(error::by_code(code), name)),
        }
        let partitions = topic.partitions();
        Ok(Some(TopicState {
            partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX),
            replicas: partitions.iter().map(|p| p.replicas().len() as u32).min().unwrap_or(0),
            is_ready: !partitions.is_empty() && partitions.iter().all(|p| p.leader() >= 0),
        }))
    }

    /// How a topic stands that has to be there.
    pub(crate) fn existing(&self, name: &str) -> Result<TopicState> {
        self.topic(name)?.ok_or_else(|| error::no_topic(name))
    }

    /// The first offset that is still there of each partition.
    pub(crate) fn beginnings(&self, topic: &str, partitions: u32) -> Result<Vec<i64>> {
        self.looked_up(topic, partitions, Offset::Beginning)
    }

    /// The offset that the next record gets, of each partition.
    pub(crate) fn ends(&self, topic: &str, partitions: u32) -> Result<Vec<i64>> {
        self.looked_up(topic, partitions, Offset::End)
    }

    /// The first offset at or after a time in milliseconds, of each partition; `None`: no record is.
    pub(crate) fn at_time(&self, topic: &str, partitions: u32, millis: i64) -> Result<Offsets> {
        let found = self.looked_up(topic, partitions, Offset::Offset(millis.max(0)))?;
        Ok(found.into_iter().map(|offset| (offset >= 0).then_some(offset)).collect())
    }

    fn looked_up(&self, topic: &str, partitions: u32, at: Offset) -> Result<Vec<i64>> {
        self.patiently(|| self.look_up(topic, partitions, at))
    }

    /// Asks again what passes: of what was only just made or moved, not every broker knows that it leads, or
    /// coordinates.
    fn patiently<T>(&self, ask: impl Fn() -> Result<T>) -> Result<T> {
        loop {
            match ask() {
                Err(e) if e.is_retryable() && !self.left().is_zero() => std::thread::sleep(MURMUR),
                done => return done,
            }
        }
    }

    /// One request for all partitions of a leader: librdkafka passes the logical offsets on as the times that
    /// stand for the two ends.
    fn look_up(&self, topic: &str, partitions: u32, at: Offset) -> Result<Vec<i64>> {
        let asked = list(topic, (0..partitions).map(|partition| (partition, at)))?;
        let found = self
            .client
            .offsets_for_times(asked, self.left())
            .map_err(|e| of_topic(error::native(&e), topic))?;
        let mut offsets = vec![-1; partitions as usize];
        for element in found.elements() {
            element.error().map_err(|e| of_topic(error::native(&e), topic))?;
            if let Some(slot) = offsets.get_mut(element.partition() as usize) {
                *slot = element.offset().to_raw().unwrap_or(-1);
            }
        }
        Ok(offsets)
    }

    /// What the group has committed.
    pub(crate) fn committed(&self, topic: &str, partitions: u32) -> Result<Offsets> {
        self.patiently(|| self.find_committed(topic, partitions))
    }

    fn find_committed(&self, topic: &str, partitions: u32) -> Result<Offsets> {
        let asked = list(topic, (0..partitions).map(|partition| (partition, Offset::Invalid)))?;
        let found =
            self.client.committed_offsets(asked, self.left()).map_err(|e| error::native(&e))?;
        let mut offsets = vec![None; partitions as usize];
        for element in found.elements() {
            element.error().map_err(|e| error::native(&e))?;
            if let (Some(slot), Offset::Offset(offset)) =
                (offsets.get_mut(element.partition() as usize), element.offset())
            {
                *slot = Some(offset);
            }
        }
        Ok(offsets)
    }

    /// Commits for the group, which must have no members.
    ///
    /// # Errors
    /// `TopologyMismatch` while it has some.
    pub(crate) fn commit(
        &self,
        topic: &str,
        offsets: impl IntoIterator<Item = (u32, i64)>,
    ) -> Result<()> {
        let offsets = offsets.into_iter().map(|(p, offset)| (p, Offset::Offset(offset)));
        let offsets = list(topic, offsets)?;
        if offsets.count() == 0 {
            return Ok(());
        }
        self.client.commit(&offsets, CommitMode::Sync).map_err(|e| match error::code(&e) {
            // The same, said of a group that is just changing its members.
            Some(Code::RebalanceInProgress | Code::IllegalGeneration) => {
                error::by_code(Code::NonEmptyGroup).with_source(e)
            }
            _ => error::native(&e),
        })
    }

    /// Asks by the admin protocol, which takes a client of its own.
    pub(crate) fn administer<T, F>(
        &self,
        ask: impl FnOnce(&AdminClient<Watch>, &AdminOptions) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, KafkaError>>,
    {
        let watch = Watch::new("", EventSender::default());
        let client = AdminClient::from_config_and_context(&self.config, watch)
            .map_err(|e| error::client(&e))?;
        let left = Some(self.left());
        let options = AdminOptions::new().request_timeout(left).operation_timeout(left);
        Handle::current().block_on(ask(&client, &options)).map_err(|e| error::native(&e))
    }
}

/// Names the topic in an error.
pub(crate) fn of_topic(error: Error, topic: &str) -> Error {
    error.with_context("topic", topic)
}

/// A list as librdkafka takes it.
pub(crate) fn list(
    topic: &str,
    offsets: impl IntoIterator<Item = (u32, Offset)>,
) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition.cast_signed(), offset)
            .map_err(|e| error::native(&e))?;
    }
    Ok(list)
}
