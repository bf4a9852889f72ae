use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use lapin::message::Delivery;
use polymq_core::Origin;

use crate::error;

/// The queues that one attachment consumes, each with an equal right to be read.
///
/// lapin buffers what the broker sends, without a bound of its own: the quality of service that was
/// asked for bounds it. What is here is read in place, without a task between.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    sources: Vec<Source>,
    /// Which source is read first: another one each time, so that none starves.
    first: usize,
}

#[derive(Debug)]
struct Source {
    stream: lapin::Consumer,
    origin: Origin,
    /// Taken from lapin while nothing could be handed out.
    held: VecDeque<Delivery>,
}

impl Sources {
    pub(crate) fn push(&mut self, stream: lapin::Consumer, origin: Origin) {
        self.sources.push(Source { stream, origin, held: VecDeque::new() });
    }

    /// Takes up to `room` deliveries. When it takes less, `cx` is woken for more, also with no room at
    /// all, since that is how the end of a source is noticed.
    ///
    /// # Errors
    /// Says why a source ended: nothing comes from it any more.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Result<Vec<(Origin, Delivery)>, String> {
        let mut taken = Vec::new();
        let count = self.sources.len();
        let first = self.first;
        self.first = (first + 1) % count.max(1);
        for turn in 0..count {
            let source = &mut self.sources[(first + turn) % count];
            while taken.len() < room
                && let Some(delivery) = source.held.pop_front()
            {
                taken.push((source.origin, delivery));
            }
            if taken.len() == room && room > 0 {
                break;
            }
            while let Poll::Ready(next) = Pin::new(&mut source.stream).poll_next(cx) {
                match next {
                    Some(Ok(delivery)) if taken.len() < room => {
                        taken.push((source.origin, delivery));
                        if taken.len() == room {
                            break;
                        }
                    }
                    Some(Ok(delivery)) => source.held.push_back(delivery),
                    Some(Err(error)) => return Err(error::text(&error)),
                    None => {
                        let queue = source.stream.queue();
                        return Err(format!("the broker cancelled the consumer of `{queue}`"));
                    }
                }
            }
        }
        Ok(taken)
    }

    /// How many deliveries are held.
    pub(crate) fn held(&self) -> usize {
        self.sources.iter().map(|source| source.held.len()).sum()
    }
}
