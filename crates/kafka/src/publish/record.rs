//! A send as a record: where it goes, under which key, and when it is released.

use std::sync::Arc;

use polymq_core::broker::{ChannelRole, Destination};
use polymq_core::{Clock, MessageId, Result};
use rdkafka::producer::BaseRecord;

use super::call::Call;
use crate::config::BrokerTable;
use crate::convert::{self, Form};
use crate::error;
use crate::layout::Layout;
use crate::tiers;

/// Makes records.
#[derive(Debug)]
pub(super) struct Records {
    layout: Arc<Layout>,
    clock: Arc<dyn Clock>,
    /// `source` of CloudEvents.
    source: String,
    max_message_bytes: usize,
    max_copy_bytes: usize,
}

/// What a record borrows and a message does not have.
#[derive(Debug)]
pub(super) struct Route {
    topic: Arc<str>,
    /// The place is not the key's choice.
    partition: Option<u32>,
    timestamp: Option<i64>,
    form: Form,
    /// The record's key, where it is not the message's.
    id: Option<MessageId>,
}

impl Records {
    pub(super) fn new(layout: Arc<Layout>, clock: Arc<dyn Clock>, table: &BrokerTable) -> Self {
        let source = format!("polymq:{}", layout.namespace());
        Self {
            layout,
            clock,
            source,
            max_message_bytes: table.max_message_bytes(),
            max_copy_bytes: table.max_copy_bytes(),
        }
    }

    /// Where a message of a call goes.
    ///
    /// # Errors
    /// `TooLarge`; `NotFound` for what the topology doesn't know; `Unsupported` for a delay elsewhere than in
    /// a retry inbox.
    pub(super) fn route(&self, call: &Call, index: usize) -> Result<Route> {
        let send = &call.sends[index];
        let size = convert::wire_size(&send.message);
        let max = match &send.destination {
            Destination::Channel(_) => self.max_message_bytes,
            _ => self.max_copy_bytes,
        };
        if size > max {
            return Err(error::too_large(size, max));
        }
        let unknown = || error::no_destination(&send.destination);
        let millis = |time: polymq_core::Timestamp| i64::try_from(time.as_millis()).ok();
        if let Destination::RetryInbox { .. } = &send.destination {
            let topic = self.layout.topic(&send.destination).ok_or_else(unknown)?;
            let now = self.clock.now();
            let (tier, release) = tiers::place(now, send.at.unwrap_or(now));
            let timestamp = millis(release);
            return Ok(Route {
                topic,
                partition: Some(tier),
                timestamp,
                form: Form::Plain,
                id: None,
            });
        }
        if send.at.is_some() {
            return Err(error::delay_elsewhere(&send.destination));
        }
        let channel = send.destination.channel().and_then(|name| self.layout.channel(name));
        let channel = channel.ok_or_else(unknown)?;
        let (form, id) = match channel.role {
            ChannelRole::DeadLetter => (Form::DeadLetter, Some(send.native_id(call.nonce, index))),
            ChannelRole::Application => (Form::Plain, None),
        };
        let timestamp = send.message.timestamp().and_then(millis);
        Ok(Route { topic: Arc::clone(&channel.topic), partition: None, timestamp, form, id })
    }

    /// The record of a message of a call.
    pub(super) fn record<'a>(
        &self,
        call: &'a Call,
        index: usize,
        route: &'a Route,
        key: usize,
    ) -> BaseRecord<'a, [u8], [u8], usize> {
        let message = &call.sends[index].message;
        let mut record = BaseRecord::with_opaque_to(&route.topic, key);
        record.key = match &route.id {
            Some(id) => Some(id.as_str().as_bytes()),
            None => message.key().map(AsRef::as_ref),
        };
        record.payload = match (message.payload(), route.form) {
            (Some(payload), _) => Some(payload.as_ref()),
            (None, Form::DeadLetter) => Some(&[]),
            (None, Form::Plain) => None,
        };
        record.partition = route.partition.and_then(|tier| i32::try_from(tier).ok());
        record.timestamp = route.timestamp;
        record.headers(convert::headers(message, &self.source, route.form))
    }
}
