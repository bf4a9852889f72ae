//! The operator's side: topology, depth, browse, purge, seek.
//!
//! Each errand has [a client of its own](crate::session), on a thread that may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::broker::{
    Admin, Browse, ChannelKind, Depth, PartitionLag, Plan, Source, StartPosition, Topology,
};
use polymq_core::{ChannelName, Clock, Error, GroupName, Result};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::browse::LogBrowse;
use crate::layout::{GroupLayout, Layout};
use crate::log::{Log, Part};
use crate::session::Session;
use crate::target::Target;
use crate::{error, offsets, topology};

/// How long an errand may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a ping may take.
const PING: Duration = Duration::from_secs(10);

/// How much longer the thread is waited for, as what librdkafka says at a deadline comes just after it.
const GRACE: Duration = Duration::from_secs(1);

/// What `admin()` of a broker is.
#[derive(Debug)]
pub(crate) struct Operator {
    target: Arc<Target>,
    layout: Arc<Layout>,
    topology: Topology,
    clock: Arc<dyn Clock>,
    is_closed: AtomicBool,
}

impl Operator {
    /// Makes sure that there are brokers, and that they let us in.
    ///
    /// # Errors
    /// `Unauthenticated` as soon as they don't; `Disconnected` or `Timeout` at the deadline.
    pub(crate) async fn connect(
        target: Arc<Target>,
        layout: Arc<Layout>,
        topology: Topology,
        clock: Arc<dyn Clock>,
        deadline: Instant,
    ) -> Result<Self> {
        let is_closed = AtomicBool::new(false);
        let operator = Self { target, layout, topology, clock, is_closed };
        let met = operator
            .errand(deadline, |target, deadline| Session::open(target, None, deadline).map(drop));
        met.await.map_err(|e| {
            e.with_operation("connect").with_context("address", operator.target.address())
        })?;
        Ok(operator)
    }

    /// From now on every method fails with `Closed`.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Does something that waits. The thread gets to the end of it even if nobody waits for it any more.
    async fn errand<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Arc<Target>, Instant) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(error::closed("broker"));
        }
        let target = Arc::clone(&self.target);
        blocking(deadline + GRACE, move || work(&target, deadline)).await
    }

    async fn in_time<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Arc<Target>, Instant) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let done = self.errand(Instant::now() + PATIENCE, work).await;
        done.map_err(|e| self.name_broker(e, operation))
    }

    fn name_broker(&self, error: Error, operation: &'static str) -> Error {
        error.with_operation(operation).with_broker(self.target.broker())
    }

    /// A group that the topology's channels can have; a queue has only its own.
    fn group(&self, channel: &ChannelName, group: &GroupName) -> Option<GroupLayout> {
        let is_queue = self.layout.channel(channel)?.kind == ChannelKind::Queue;
        (!is_queue || *group == GroupName::from(channel))
            .then(|| self.layout.group(channel, group))?
    }

    /// The log of a source, and who reads it.
    fn log(&self, source: &Source) -> Result<Log> {
        let (channel, group, part) = match source {
            Source::Group { channel, group } => (channel, group.clone(), Part::Channel),
            Source::RetryInbox { channel, group } => (channel, group.clone(), Part::Inbox),
            Source::DeadLetter(channel) => (channel, GroupName::from(channel), Part::Channel),
            _ => return Err(error::no_source(source)),
        };
        let names = self.group(channel, &group).ok_or_else(|| error::no_source(source))?;
        Ok(Log::new(names, part))
    }
}

#[async_trait]
impl Admin for Operator {
    async fn plan(&self) -> Result<Plan> {
        let objects = topology::objects(&self.topology, &self.layout);
        self.in_time("plan", move |target, deadline| topology::plan(target, &objects, deadline))
            .await
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        let objects = topology::objects(&self.topology, &self.layout);
        let plan = plan.clone();
        let applied = move |target: &Arc<Target>, deadline| {
            topology::apply(target, &objects, &plan, deadline)
        };
        self.in_time("apply", applied).await
    }

    async fn depth(&self, source: &Source) -> Result<Depth> {
        let (log, now) = (self.log(source)?, self.clock.now());
        self.in_time("depth", move |target, deadline| log.depth(target, now, deadline)).await
    }

    async fn lag(&self, source: &Source) -> Result<Vec<PartitionLag>> {
        let log = self.log(source)?;
        self.in_time("lag", move |target, deadline| log.lag(target, deadline)).await
    }

    async fn browse(&self, source: &Source, from: StartPosition) -> Result<Box<dyn Browse>> {
        let log = self.log(source)?;
        let opened = self.in_time("browse", move |target, deadline| {
            LogBrowse::open(target, log, from, deadline)
        });
        Ok(Box::new(opened.await?))
    }

    async fn purge(&self, source: &Source) -> Result<u64> {
        let log = self.log(source)?;
        self.in_time("purge", move |target, deadline| log.purge(target, deadline)).await
    }

    async fn seek(
        &self,
        channel: &ChannelName,
        group: &GroupName,
        to: StartPosition,
    ) -> Result<()> {
        let names = self.group(channel, group).ok_or_else(|| error::no_group(channel, group));
        let names = names.map_err(|e| self.name_broker(e, "seek"))?;
        let moved = self.in_time("seek", move |target, deadline| {
            let session = Session::open(target, Some(&names.id), deadline)?;
            offsets::seek(&session, &names.topic, to)
        });
        moved.await.map_err(|e| e.with_channel(channel))
    }

    async fn ping(&self) -> Result<Duration> {
        let trip = self.errand(Instant::now() + PING, |target, deadline| {
            let session = Session::open(target, None, deadline)?;
            let start = Instant::now();
            session.meet(target.namespace())?;
            Ok(start.elapsed())
        });
        trip.await.map_err(|e| self.name_broker(e, "ping"))
    }
}
