use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::broker::MemoryBroker;
use super::browse::MemoryBrowse;
use super::channel::Channel;
use super::error;
use super::server::lock;
use crate::Result;
use crate::broker::ChannelKind;
use crate::broker::{Admin, Browse, Capability, Depth, Plan, Source, StartPosition};
use crate::model::{ChannelName, GroupName, Origin};

impl MemoryBroker {
    /// The channel, the group's place and which of its two sources is meant.
    fn source(&self, source: &Source) -> Result<(Arc<Channel>, usize, Origin)> {
        self.connection.check_open()?;
        let (found, origin) = match source {
            Source::Group { channel, group } => {
                (self.connection.group(channel, group), Origin::Channel)
            }
            Source::RetryInbox { channel, group } => {
                (self.connection.group(channel, group), Origin::RetryInbox)
            }
            Source::DeadLetter(channel) => {
                let group = GroupName::from(channel);
                (self.connection.group(channel, &group), Origin::Channel)
            }
        };
        let (channel, group) = found
            .ok_or_else(|| error::no_source(source).with_broker(&self.connection.info.name))?;
        Ok((channel, group, origin))
    }
}

#[async_trait]
impl Admin for MemoryBroker {
    async fn plan(&self) -> Result<Plan> {
        self.connection.check_open()?;
        Ok(self.connection.plan())
    }

    async fn apply(&self, plan: &Plan) -> Result<()> {
        self.connection.check_open()?;
        let applied = self.connection.apply(plan);
        applied.map_err(|e| e.with_broker(&self.connection.info.name))
    }

    async fn depth(&self, source: &Source) -> Result<Depth> {
        let (channel, group, origin) = self.source(source)?;
        let now = self.connection.clock.instant();
        let mut state = lock(&channel.state);
        let group = &mut state.groups[group];
        group.expire(now);
        let in_flight = group.in_flight.iter().filter(|e| e.origin == origin).count() as u64;
        let (ready, delayed) = match origin {
            Origin::Channel => (group.backlog, 0),
            Origin::RetryInbox => {
                let waiting = group.inbox.log.len() as u64 - in_flight;
                let due = group.inbox.waiting().filter(|(_, due)| *due <= now).count() as u64;
                (due, waiting - due)
            }
        };
        Ok(Depth { ready, in_flight: Some(in_flight), delayed: Some(delayed) })
    }

    async fn browse(&self, source: &Source, from: StartPosition) -> Result<Box<dyn Browse>> {
        self.connection.require(Capability::Browse)?;
        let (channel, group, origin) = self.source(source)?;
        let browse = MemoryBrowse::open(Arc::clone(&self.connection), channel, group, origin, from);
        Ok(Box::new(browse?))
    }

    async fn purge(&self, source: &Source) -> Result<u64> {
        self.connection.require(Capability::Purge)?;
        let (channel, group, origin) = self.source(source)?;
        let mut state = lock(&channel.state);
        let purged = match origin {
            Origin::Channel => state.purge(group, self.connection.clock.now()),
            Origin::RetryInbox => state.purge_retries(group),
        };
        drop(state);
        self.connection.server.touch();
        Ok(purged)
    }

    async fn seek(
        &self,
        channel: &ChannelName,
        group: &GroupName,
        to: StartPosition,
    ) -> Result<()> {
        self.connection.require(Capability::Replay)?;
        let source = Source::Group { channel: channel.clone(), group: group.clone() };
        let (found, group, _) = self.source(&source)?;
        if found.kind == ChannelKind::Queue {
            return Err(error::no_history(channel).with_broker(&self.connection.info.name));
        }
        let mut state = lock(&found.state);
        let to = state.resolve(to).map_err(|e| e.with_operation("seek").with_channel(channel))?;
        state.seek(group, to, self.connection.clock.now());
        drop(state);
        self.connection.server.touch();
        Ok(())
    }

    async fn ping(&self) -> Result<Duration> {
        let start = self.connection.clock.instant();
        self.connection.check_open()?;
        Ok(self.connection.clock.instant() - start)
    }
}
