//! The operator's side: topology, depth, browse, purge.
//!
//! It uses the consuming connection, which a broker short of memory or disk never blocks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{FieldTable, ShortString};
use polymq_core::broker::{
    Admin, Browse, ChannelKind, Depth, Plan, Source, StartPosition, Topology,
};
use polymq_core::{ChannelName, Error, ErrorKind, GroupName, Result};
use tokio::time::Instant;

use crate::browse::QueueBrowse;
use crate::error;
use crate::layout::Layout;
use crate::link::Link;
#[cfg(feature = "management")]
use crate::management::Management;
use crate::target::Target;
use crate::topology::{self, Pool};

/// How long a ping may take.
const PING: Duration = Duration::from_secs(10);

/// What `admin()` of a broker is.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) link: Arc<Link>,
    pub(crate) target: Arc<Target>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) topology: Topology,
}

impl Operator {
    /// The queues that hold a source's messages.
    fn queues(&self, source: &Source) -> Result<Vec<ShortString>> {
        let (channel, group, is_inbox) = match source {
            Source::Group { channel, group } => (channel, group.clone(), false),
            Source::RetryInbox { channel, group } => (channel, group.clone(), true),
            Source::DeadLetter(channel) => (channel, GroupName::from(channel), false),
            _ => return Err(no_source(source)),
        };
        let kind = self.layout.channel(channel).map(|found| found.kind);
        let names = self.layout.group(channel, &group).ok_or_else(|| no_source(source))?;
        if kind == Some(ChannelKind::Queue) && group != GroupName::from(channel) {
            return Err(no_source(source));
        }
        Ok(if is_inbox { vec![names.inbox] } else { names.queues })
    }

    /// Whether a source is the partitions of an ordered channel.
    fn is_partitioned(&self, source: &Source) -> bool {
        let Source::Group { channel, .. } = source else { return false };
        self.layout.channel(channel).is_some_and(|found| found.partitions.is_some())
    }

    /// Whether the routing keys of a source's messages are their subjects.
    fn is_topic(&self, source: &Source) -> bool {
        let Source::Group { channel, .. } = source else { return false };
        self.layout.channel(channel).is_some_and(|found| found.kind == ChannelKind::Topic)
    }

    fn name_broker(&self, error: Error, operation: &'static str) -> Error {
        error.with_operation(operation).with_broker(self.target.broker())
    }

    async fn ready(&self, source: &Source) -> Result<u64> {
        let pool = Pool::open(&self.link).await?;
        let mut ready = 0;
        for queue in self.queues(source)? {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let asked = pool.call(async move |channel: Channel| {
                channel.queue_declare(queue, options, FieldTable::default()).await
            });
            let found = asked.await?.map_err(|e| translate(&e, source))?;
            ready += u64::from(found.message_count());
        }
        Ok(ready)
    }

    #[cfg(feature = "management")]
    fn management(&self, operation: &'static str) -> Result<Option<Management<'_>>> {
        Management::of(&self.target).map_err(|e| self.name_broker(e, operation))
    }

    /// Adds what only the management plugin tells.
    #[cfg(feature = "management")]
    async fn with_in_flight(&self, mut depth: Depth, source: &Source) -> Result<Depth> {
        if let Some(management) = self.management("depth")? {
            let mut in_flight = 0;
            for queue in self.queues(source)? {
                let asked = management.queue(&queue).await;
                let found = asked.map_err(|e| self.name_broker(e, "depth"))?;
                in_flight += found.map_or(0, |queue| queue.in_flight());
            }
            depth.in_flight = Some(in_flight);
        }
        Ok(depth)
    }

    async fn purged(&self, source: &Source) -> Result<u64> {
        let pool = Pool::open(&self.link).await?;
        let mut purged = 0;
        for queue in self.queues(source)? {
            let options = QueuePurgeOptions::default();
            let asked =
                pool.call(async move |channel: Channel| channel.queue_purge(queue, options).await);
            purged += u64::from(asked.await?.map_err(|e| translate(&e, source))?);
        }
        Ok(purged)
    }
}

fn no_source(source: &Source) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {source}"))
        .with_help("correct the name, or apply the topology: `polymq topology apply`")
}

fn translate(native: &lapin::Error, source: &Source) -> Error {
    match error::is_not_found(native) {
        true => no_source(source).with_source(native.clone()),
        false => error::native(native),
    }
}

#[async_trait]
impl Admin for Operator {
    async fn plan(&self) -> Result<Plan> {
        let stages = topology::stages(&self.topology, &self.layout);
        #[cfg(feature = "management")]
        if let Some(management) = self.management("plan")? {
            let compared = topology::compare(&management, &stages).await;
            return compared.map_err(|e| self.name_broker(e, "plan"));
        }
        let planned = async { topology::plan(&Pool::open(&self.link).await?, &stages).await };
        planned.await.map_err(|e| self.name_broker(e, "plan"))
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        let stages = topology::stages(&self.topology, &self.layout);
        let applied =
            async { topology::apply(&Pool::open(&self.link).await?, &stages, plan).await };
        applied.await.map_err(|e| self.name_broker(e, "apply"))
    }

    async fn depth(&self, source: &Source) -> Result<Depth> {
        let ready = self.ready(source).await.map_err(|e| self.name_broker(e, "depth"))?;
        let depth = Depth::ready(ready);
        #[cfg(feature = "management")]
        let depth = self.with_in_flight(depth, source).await?;
        Ok(depth)
    }

    async fn browse(&self, source: &Source, from: StartPosition) -> Result<Box<dyn Browse>> {
        let opened = async {
            if from != StartPosition::Earliest {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "RabbitMQ's queues are read from their beginning only",
                )
                .with_help("browse from `earliest`"));
            }
            if self.is_partitioned(source) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "a partition's queue shows its messages to its active consumer only",
                )
                .with_help("look at the retry inbox or at the dead letters instead"));
            }
            let (queues, is_topic) = (self.queues(source)?, self.is_topic(source));
            QueueBrowse::open(&self.link, queues, is_topic).await
        };
        let opened = opened.await.map_err(|e| self.name_broker(e, "browse"))?;
        Ok(Box::new(opened))
    }

    async fn purge(&self, source: &Source) -> Result<u64> {
        self.purged(source).await.map_err(|e| self.name_broker(e, "purge"))
    }

    async fn seek(
        &self,
        channel: &ChannelName,
        _group: &GroupName,
        _to: StartPosition,
    ) -> Result<()> {
        let error = Error::new(ErrorKind::Unsupported, "RabbitMQ's queues forget what was handled")
            .with_channel(channel)
            .with_help("publish the messages again, or use a broker that keeps them");
        Err(self.name_broker(error, "seek"))
    }

    async fn ping(&self) -> Result<Duration> {
        let deadline = Instant::now() + PING;
        let trip = async {
            let session = self.link.session(deadline).await?;
            let start = Instant::now();
            session.channel(deadline).await?;
            Ok(start.elapsed())
        };
        trip.await.map_err(|e: Error| self.name_broker(e, "ping"))
    }
}
