use std::collections::BTreeMap;
use std::sync::Arc;

use super::{HOP_RESERVE, Pump, check_limits};
use crate::broker::{Capabilities, ChannelKind, ChannelSpec, Destination, Limits, Send};
use crate::model::{ChannelName, GroupName, Message, MessageId, RESERVED_PREFIX, Timestamp};
use crate::observe::TraceContext;
use crate::{Error, ErrorKind, Result};

/// A channel, as a publisher sees it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) channel: ChannelName,
    pub(crate) pump: Arc<Pump>,
    pub(crate) limits: Limits,
    kind: ChannelKind,
    ordered: bool,
    max_priority: u8,
}

impl Route {
    pub(crate) fn new(spec: &ChannelSpec, capabilities: &Capabilities, pump: Arc<Pump>) -> Self {
        Self {
            channel: spec.name.clone(),
            kind: spec.kind,
            ordered: spec.ordered,
            max_priority: capabilities.limits.max_priority,
            limits: capabilities.limits.clone(),
            pump,
        }
    }

    /// Checks and stamps an application's message, and says where it goes.
    pub(crate) fn prepare(&self, mut message: Message, now: Timestamp) -> Result<Send> {
        message.headers_mut_if_any(|h| h.retain(|name| !name.starts_with(RESERVED_PREFIX)));
        if message.timestamp().is_none() {
            message.set_timestamp(Some(now));
        }
        if message.id().is_none() {
            message.set_id(Some(MessageId::generate(now)));
        }
        self.trace(&mut message);
        let at = |e: Error| {
            e.with_operation("publish")
                .with_channel(&self.channel)
                .with_broker(&self.pump.broker().info().name)
        };
        let size = self.pump.broker().wire_size(&message);
        check_limits(&message, size, &self.limits, HOP_RESERVE).map_err(at)?;
        if let Some(priority) = message.priority().filter(|p| *p > self.max_priority) {
            return Err(at(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "priority {priority} is above the channel's highest, {}",
                    self.max_priority
                ),
            )
            .with_help("send without a priority, or use a broker that has them")));
        }
        let channel = self.channel.clone();
        let Some(due) = message.deliver_at() else {
            return Ok(Send::new(Destination::Channel(channel), message));
        };
        if self.ordered {
            return Err(at(Error::new(
                ErrorKind::Unsupported,
                "an ordered channel cannot hold a message back",
            )
            .with_help("publish without deliver_at, or to a channel without order_by")));
        }
        Ok(match self.kind {
            // A queue waits in its own inbox. On a topic each group defers for itself.
            ChannelKind::Queue => {
                let group = GroupName::from(&channel);
                let destination = Destination::RetryInbox { channel, group };
                Send { destination, message, at: Some(due) }
            }
            ChannelKind::Topic => Send::new(Destination::Channel(channel), message),
        })
    }

    fn trace(&self, message: &mut Message) {
        if message.headers().get(crate::observe::TRACEPARENT).is_some() {
            return;
        }
        let context = match TraceContext::current() {
            Some(parent) => parent.child(),
            // Without an ambient trace, one begins here if anybody is listening.
            None if tracing::enabled!(target: "polymq::publish", tracing::Level::DEBUG) => {
                TraceContext::root()
            }
            None => return,
        };
        context.write(message.headers_mut());
        tracing::debug!(
            target: "polymq::publish",
            {
                messaging.operation.name = "publish",
                messaging.destination.name = %self.channel,
                messaging.message.id = message.id().map(tracing::field::display),
                trace_id = %context.trace_id(),
            },
            "publish"
        );
    }
}

/// The channels that a process can publish to.
#[derive(Debug, Default)]
pub(crate) struct Routes(BTreeMap<ChannelName, Arc<Route>>);

impl Routes {
    pub(crate) fn insert(&mut self, route: Route) {
        self.0.insert(route.channel.clone(), Arc::new(route));
    }

    pub(crate) fn get(&self, channel: &str) -> Result<&Arc<Route>> {
        self.0.get(channel).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(ChannelName::as_str).collect();
            Error::new(ErrorKind::NotFound, format!("the configuration has no channel `{channel}`"))
                .with_operation("publish")
                .with_help(format!("add [channels.{channel}], or use one of: {}", known.join(", ")))
        })
    }
}
