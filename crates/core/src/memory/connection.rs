use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::error;
use super::server::{MemoryServer, Space};
use crate::Result;
use crate::broker::{BrokerInfo, Capabilities, Capability, EventSender, Topology};
use crate::clock::{Clock, FAR};
use crate::model::{ChannelName, GroupName};

/// What a broker handle and its consumers share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) server: MemoryServer,
    pub(super) space: Arc<Space>,
    pub(super) topology: Topology,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) info: BrokerInfo,
    pub(super) capabilities: Capabilities,
    /// Tells the tokens of this connection from those of others.
    pub(super) epoch: u32,
    pub(super) closed: CancellationToken,
    pub(super) events: EventSender,
}

impl Connection {
    /// # Errors
    /// `Closed` after the broker was closed.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.is_cancelled() {
            return Err(error::closed("broker").with_broker(&self.info.name));
        }
        Ok(())
    }

    /// How long a delivery may stay unsettled.
    pub(super) fn lease(&self) -> Duration {
        self.server.options().lease.min(FAR)
    }

    /// # Errors
    /// `Unsupported`, in the words of the denial.
    pub(super) fn require(&self, capability: Capability) -> Result<()> {
        match self.capabilities.denial(capability) {
            None => Ok(()),
            Some(denial) => Err(error::denied(denial).with_broker(&self.info.name)),
        }
    }

    /// A channel, and the place of one of its groups.
    pub(super) fn group(
        &self,
        channel: &ChannelName,
        group: &GroupName,
    ) -> Option<(Arc<Channel>, usize)> {
        let channel = self.space.channel(channel)?;
        let place = super::server::lock(&channel.state).group(group)?;
        Some((channel, place))
    }
}
