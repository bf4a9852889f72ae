use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::channel::Channel;
use super::connection::Connection;
use super::group::position;
use super::inbox::Due;
use super::log::Record;
use super::server::lock;
use crate::broker::{Browse, Capability, PeekHandle, Peeked, StartPosition};
use crate::model::Origin;
use crate::{Error, ErrorKind, Result};

/// A look at one source: what its group has not handled, in hand or not, by place.
///
/// It holds nothing but the place of the last message it showed, so it shows what arrives after it
/// was opened, too.
#[derive(Debug)]
pub(super) struct MemoryBrowse {
    connection: Arc<Connection>,
    channel: Arc<Channel>,
    group: usize,
    origin: Origin,
    next: u64,
}

impl MemoryBrowse {
    pub(super) fn open(
        connection: Arc<Connection>,
        channel: Arc<Channel>,
        group: usize,
        origin: Origin,
        from: StartPosition,
    ) -> Result<Self> {
        let state = lock(&channel.state);
        let next = match (origin, from) {
            (Origin::Channel, from) => state.resolve(from)?,
            (Origin::RetryInbox, StartPosition::Earliest) => 0,
            (Origin::RetryInbox, StartPosition::Latest) => state.groups[group].inbox.log.next_seq(),
            (Origin::RetryInbox, StartPosition::Position(place)) => place.offset,
            (Origin::RetryInbox, StartPosition::Timestamp(_)) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "a retry inbox keeps no publishing times",
                )
                .with_operation("browse")
                .with_channel(&channel.name)
                .with_help("browse it from `earliest`"));
            }
        };
        drop(state);
        Ok(Self { connection, channel, group, origin, next })
    }

    fn peek(&mut self, max: usize) -> Vec<Peeked> {
        let state = lock(&self.channel.state);
        let group = &state.groups[self.group];
        let peeked: Vec<Peeked> = match self.origin {
            Origin::Channel => {
                let in_hand = group.in_flight.iter().filter(|e| e.origin == Origin::Channel);
                let behind: HashSet<u64> =
                    in_hand.map(|e| e.seq).chain(group.lanes.waiting()).collect();
                let unhandled = |seq: &u64| *seq >= group.cursor || behind.contains(seq);
                let records = state.log.iter_from(self.next).filter(|(seq, _)| unhandled(seq));
                let show = |(seq, record): (u64, &Record<_>)| peek(seq, record);
                records.take(max).map(show).collect()
            }
            Origin::RetryInbox => {
                let records = group.inbox.log.iter_from(self.next).take(max);
                let show = |(seq, record): (u64, &Record<Due>)| Peeked {
                    due: record.extra.at,
                    ..peek(seq, record)
                };
                records.map(show).collect()
            }
        };
        if let Some(last) = peeked.last().and_then(|peeked| peeked.position) {
            self.next = last.offset + 1;
        }
        peeked
    }

    fn remove(&self, handle: &PeekHandle) -> Result<()> {
        let seq = handle.0.parse().map_err(|_| {
            Error::new(ErrorKind::Malformed, "this is not a handle of this broker")
                .with_operation("remove")
        })?;
        let mut state = lock(&self.channel.state);
        let removed = match self.origin {
            Origin::Channel => state.discard(self.group, seq, self.connection.clock.now()),
            Origin::RetryInbox => state.discard_retry(self.group, seq),
        };
        removed.map_err(|e: Error| e.with_channel(&self.channel.name))
    }
}

fn peek<X>(seq: u64, record: &Record<X>) -> Peeked {
    let mut peeked = Peeked::new(PeekHandle(seq.to_string()), record.message.clone());
    peeked.position = Some(position(seq));
    peeked
}

#[async_trait]
impl Browse for MemoryBrowse {
    async fn next(&mut self, max: usize) -> Result<Vec<Peeked>> {
        self.connection.check_open()?;
        Ok(self.peek(max))
    }

    async fn remove(&mut self, handles: &[PeekHandle]) -> Vec<Result<()>> {
        let remove = |handle: &PeekHandle| {
            self.connection.check_open()?;
            self.connection.require(Capability::BrowseRemove)?;
            Self::remove(self, handle)
        };
        let removed = handles.iter().map(remove).collect();
        self.connection.server.touch();
        removed
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
