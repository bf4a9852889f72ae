use std::sync::Arc;
use std::task::{Context, Poll};

use polymq_core::broker::{ChannelKind, Subscription, Token};
use polymq_core::{Delivery, Origin, Result};

use super::sources::Sources;
use super::state::Shared;
use crate::{convert, error};

/// The reading end of a consumer: turns what lapin has into deliveries.
#[derive(Debug)]
pub(super) struct Intake {
    sources: Sources,
    /// Whose sources these are.
    epoch: u32,
    /// They have ended: nothing is to be read from them.
    ended: bool,
    prefetch: usize,
    kind: ChannelKind,
    ordered: bool,
    consumer: u32,
}

impl Intake {
    pub(super) fn new(
        subscription: &Subscription,
        kind: ChannelKind,
        ordered: bool,
        consumer: u32,
    ) -> Self {
        let prefetch = subscription.prefetch.max(1);
        Self {
            sources: Sources::default(),
            epoch: 0,
            ended: true,
            prefetch,
            kind,
            ordered,
            consumer,
        }
    }

    /// Deliveries that are there, `max` at most; when there are none, `cx` is woken for more.
    ///
    /// Nothing is taken that is not returned or held for the next call.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        max: usize,
    ) -> Poll<Result<Vec<Delivery>>> {
        shared.receiver.register(cx.waker());
        let room = {
            let mut state = shared.lock();
            if state.closed {
                return Poll::Ready(Err(error::closed("consumer")));
            }
            if let Some(failure) = state.failure.take() {
                return Poll::Ready(Err(failure));
            }
            if let Some(sources) = state.sources.take() {
                (self.sources, self.epoch, self.ended) = (sources, state.epoch, false);
            }
            if self.ended || self.epoch != state.epoch {
                return Poll::Pending;
            }
            let room = state.room(self.prefetch);
            state.held_up = room == 0;
            room.min(max.max(1))
        };
        let taken = match self.sources.poll(cx, room) {
            Ok(taken) => taken,
            Err(reason) => {
                self.ended = true;
                shared.lose(self.epoch, reason);
                return Poll::Pending;
            }
        };
        let mut state = shared.lock();
        if state.epoch != self.epoch {
            // They come again from the broker. Whoever changed the epoch wakes us.
            return Poll::Pending;
        }
        state.buffered = self.sources.held();
        if taken.is_empty() {
            return Poll::Pending;
        }
        for (_, delivery) in &taken {
            state.watermark.hand_out(delivery.delivery_tag);
        }
        drop(state);
        Poll::Ready(Ok(taken.into_iter().map(|(origin, raw)| self.read(origin, raw)).collect()))
    }

    fn read(&self, origin: Origin, raw: lapin::message::Delivery) -> Delivery {
        let subject = self.subject(origin, raw.routing_key.as_str());
        let received = convert::read(&raw.properties, raw.data, subject);
        let (consumer, epoch) = (self.consumer, self.epoch);
        let token = Token { consumer, epoch, slot: raw.delivery_tag, generation: 0 };
        let mut delivery = Delivery::new(received.message, token);
        delivery.origin = origin;
        delivery.delivery_count = Some(received.delivery_count);
        delivery.redelivered = raw.redelivered;
        delivery.malformed = received.malformed.map(Arc::new);
        delivery
    }

    /// The subject that the routing key stands for: on an ordered channel behind the partition.
    fn subject<'a>(&self, origin: Origin, routing_key: &'a str) -> Option<&'a str> {
        match (origin, self.kind) {
            (Origin::Channel, ChannelKind::Topic) if self.ordered => {
                routing_key.split_once('.').map(|(_, subject)| subject)
            }
            (Origin::Channel, ChannelKind::Topic) => Some(routing_key),
            _ => None,
        }
    }
}
