use std::sync::Arc;
use std::task::{Context, Poll};

use polymq_core::broker::ChannelKind;
use polymq_core::{Delivery, Origin, Result};

use super::lane::Tokens;
use super::sources::{Haul, Sources, Taken};
use super::state::Shared;
use crate::{convert, error};

/// The reading end of a consumer: turns what lapin has into deliveries.
#[derive(Debug)]
pub(super) struct Intake {
    sources: Sources,
    kind: ChannelKind,
}

impl Intake {
    pub(super) fn new(kind: ChannelKind) -> Self {
        Self { sources: Sources::default(), kind }
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
            if std::mem::take(&mut state.has_changed) {
                self.sources.follow(&mut state);
            }
            let room = state.room();
            state.held_up = room == 0;
            room.min(max.max(1))
        };
        let Haul { mut taken, ended } = self.sources.poll(cx, room);
        for (lane, reason) in ended {
            shared.lose(lane, reason);
        }
        let mut state = shared.lock();
        state.buffered = self.sources.held();
        // What is left out comes again from the broker. Whoever stops a lane wakes us.
        taken.retain(|taken| state.hand_out(taken.lane, taken.delivery.delivery_tag));
        drop(state);
        if taken.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken.into_iter().map(|taken| self.read(shared.tokens, taken)).collect()))
    }

    fn read(&self, tokens: Tokens, taken: Taken) -> Delivery {
        let Taken { lane, origin, delivery: raw } = taken;
        let subject = self.subject(origin, tokens.ordered, raw.routing_key.as_str());
        let received = convert::read(&raw.properties, raw.data, subject);
        let token = tokens.token(lane, raw.delivery_tag);
        let mut delivery = Delivery::new(received.message, token);
        delivery.origin = origin;
        delivery.delivery_count = Some(received.delivery_count);
        delivery.redelivered = raw.redelivered;
        delivery.malformed = received.malformed.map(Arc::new);
        delivery
    }

    /// The subject that the routing key stands for: on an ordered channel behind the partition.
    fn subject<'a>(&self, origin: Origin, ordered: bool, routing_key: &'a str) -> Option<&'a str> {
        match (origin, self.kind) {
            (Origin::Channel, ChannelKind::Topic) if ordered => {
                routing_key.split_once('.').map(|(_, subject)| subject)
            }
            (Origin::Channel, ChannelKind::Topic) => Some(routing_key),
            _ => None,
        }
    }
}
