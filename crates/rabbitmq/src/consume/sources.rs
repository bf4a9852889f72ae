use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use lapin::message::Delivery;
use polymq_core::Origin;

use super::state::State;
use crate::error;

/// The queues that one consumer reads, each with an equal right to be read.
///
/// lapin buffers what the broker sends, without a bound of its own: the quality of service that was
/// asked for bounds it. What is here is read in place, without a task between.
#[derive(Debug, Default)]
pub(super) struct Sources {
    sources: Vec<Source>,
    /// Which source is read first: another one each time, so that none starves.
    first: usize,
}

/// One queue.
#[derive(Debug)]
pub(super) struct Source {
    /// The lane that it belongs to.
    lane: u32,
    origin: Origin,
    stream: lapin::Consumer,
    /// Taken from lapin while nothing could be handed out.
    held: VecDeque<Delivery>,
    /// If its lane is not, what comes is dropped: the broker sends it again. It is read to its end all
    /// the same, since lapin would cancel a consumer that is dropped while its AMQP channel is open.
    is_open: bool,
    has_ended: bool,
}

/// What one look at the sources brought.
#[derive(Debug, Default)]
pub(super) struct Haul {
    pub(super) taken: Vec<Taken>,
    /// The lanes whose sources ended, and why.
    pub(super) ended: Vec<(u32, String)>,
}

#[derive(Debug)]
pub(super) struct Taken {
    pub(super) lane: u32,
    pub(super) origin: Origin,
    pub(super) delivery: Delivery,
}

impl Sources {
    /// Takes in what has changed about the lanes.
    pub(super) fn follow(&mut self, state: &mut State) {
        self.sources.append(&mut state.arrivals);
        for source in &mut self.sources {
            let lane = state.lanes.iter().find(|lane| lane.number == source.lane);
            source.is_open = lane.is_some_and(|lane| lane.is_open());
            if !source.is_open {
                source.held.clear();
            }
        }
    }

    /// Takes up to `room` deliveries. When it takes less, `cx` is woken for more, also with no room at
    /// all, since that is how the end of a source is noticed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, room: usize) -> Haul {
        let mut haul = Haul::default();
        let count = self.sources.len();
        let first = self.first;
        self.first = (first + 1) % count.max(1);
        for turn in 0..count {
            self.sources[(first + turn) % count].poll(cx, room, &mut haul);
            if haul.taken.len() == room && room > 0 {
                break;
            }
        }
        if !haul.ended.is_empty() {
            self.sources.retain(|source| !source.has_ended);
        }
        haul
    }

    /// How many deliveries are held.
    pub(super) fn held(&self) -> usize {
        self.sources.iter().map(|source| source.held.len()).sum()
    }
}

impl Source {
    pub(super) fn new(lane: u32, origin: Origin, stream: lapin::Consumer) -> Self {
        let held = VecDeque::new();
        Self { lane, origin, stream, held, is_open: true, has_ended: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>, room: usize, haul: &mut Haul) {
        let (lane, origin) = (self.lane, self.origin);
        let taken = |delivery| Taken { lane, origin, delivery };
        while haul.taken.len() < room
            && let Some(delivery) = self.held.pop_front()
        {
            haul.taken.push(taken(delivery));
        }
        if haul.taken.len() == room && room > 0 {
            return;
        }
        while let Poll::Ready(next) = Pin::new(&mut self.stream).poll_next(cx) {
            let reason = match next {
                Some(Ok(_)) if !self.is_open => continue,
                Some(Ok(delivery)) if haul.taken.len() < room => {
                    haul.taken.push(taken(delivery));
                    if haul.taken.len() == room {
                        return;
                    }
                    continue;
                }
                Some(Ok(delivery)) => {
                    self.held.push_back(delivery);
                    continue;
                }
                Some(Err(error)) => error::text(&error),
                None => format!("the broker cancelled the consumer of `{}`", self.stream.queue()),
            };
            haul.ended.push((lane, reason));
            self.has_ended = true;
            return;
        }
    }
}
