//! Settling: as few frames as say it, and no tag twice.
//!
//! An acknowledgement of one tag, with all below it, is worth as many as it covers: the broker handles
//! five times as many a second. So what a call settles up to the watermark goes as one frame, and only
//! what is above it goes tag by tag; all frames of a call are issued at once and written together.
//!
//! A frame cannot be called back. A tag whose frame was issued is settled, whether or not its caller
//! learned that it was written: settled again, it is only asked whether the frame got through.

mod watermark;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions};
use polymq_core::broker::{Settlement, Token};
use polymq_core::{Error, Result};
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use crate::consume::{Attachment, Shared, State};
use crate::error;

pub(crate) use watermark::Watermark;

/// How often a blocked connection is looked at.
const BLOCKED_TICK: Duration = Duration::from_millis(20);

/// What is written to the broker.
#[derive(Clone, Copy)]
enum Frame {
    /// Settles one tag.
    Ack(u64),
    /// Settles a tag and all below it.
    AckUpTo(u64),
    /// Gives one tag back.
    Nack(u64),
}

/// A call to `settle`, from the moment that its frames were issued. Dropped before it knows that they
/// were written, it leaves its tags as unwritten.
struct Call<'a> {
    shared: &'a Shared,
    epoch: u32,
    settlements: &'a [(Token, Settlement)],
    /// So far; those issued count as settled.
    results: Vec<Result<()>>,
    /// Which ones an earlier call has issued without learning that they were written.
    unknown: Vec<usize>,
    answered: bool,
}

/// Settles deliveries of consumer number `consumer`: see
/// [`Consumer::settle`](polymq_core::broker::Consumer::settle).
pub(crate) async fn settle(
    shared: &Shared,
    consumer: u32,
    ordered: bool,
    settlements: &[(Token, Settlement)],
    deadline: Instant,
) -> Vec<Result<()>> {
    let attachment = shared.lock().attachment.clone();
    let Some(attachment) = attachment.filter(|a| a.is_up()) else {
        return settlements.iter().map(|_| Err(error::stale())).collect();
    };
    if !until_unblocked(&attachment, deadline).await {
        return settlements.iter().map(|_| Err(error::blocked())).collect();
    }
    let mut call = Call {
        shared,
        epoch: 0,
        settlements,
        results: Vec::with_capacity(settlements.len()),
        unknown: Vec::new(),
        answered: false,
    };
    if let Some(writing) = call.issue(&attachment.channel, consumer, ordered) {
        match timeout_at(deadline, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                shared.lose(call.epoch, error::text(&error));
                call.replace_ok(error::stale);
            }
            Err(_) => return call.unanswered(),
        }
    }
    call.answered = true;
    if !call.unknown.is_empty() {
        call.ask(&attachment.channel, deadline).await;
    }
    std::mem::take(&mut call.results)
}

impl Call<'_> {
    /// Decides what becomes of each settlement and issues the frames, in one go: what a later call
    /// issues is written later. Returns the writing of the last one, by which all are written.
    fn issue<'c>(
        &mut self,
        channel: &'c Channel,
        consumer: u32,
        ordered: bool,
    ) -> Option<BoxFuture<'c, lapin::Result<()>>> {
        let mut state = self.shared.lock();
        self.epoch = state.epoch;
        for (n, (token, settlement)) in self.settlements.iter().enumerate() {
            let result = take(&mut state, *token, *settlement, consumer, ordered);
            if result.as_ref().is_err_and(Error::is_retryable) {
                self.unknown.push(n);
            }
            self.results.push(result);
        }
        let settled_up_to = state.watermark.settled_up_to();
        let mut last = None;
        let mut issue = |frame| {
            if let Some(before) = last.replace(frame) {
                // The first poll issues it. Should that fail, so does the last one.
                let _ = write(channel, before).now_or_never();
            }
        };
        let mut covered = None;
        for ((token, settlement), result) in self.settlements.iter().zip(&self.results) {
            match settlement {
                _ if result.is_err() => {}
                Settlement::Ack if token.slot <= settled_up_to => {
                    covered = covered.max(Some(token.slot));
                }
                Settlement::Ack => issue(Frame::Ack(token.slot)),
                Settlement::Release if ordered => {}
                Settlement::Release => issue(Frame::Nack(token.slot)),
            }
        }
        // Last, so that what is released is not acked with it.
        covered.map(Frame::AckUpTo).into_iter().for_each(issue);
        let writing = last.map(|frame| {
            let mut writing = write(channel, frame).boxed();
            match (&mut writing).now_or_never() {
                Some(written) => std::future::ready(written).boxed(),
                None => writing,
            }
        });
        if writing.is_some() {
            state.issued = Some(Instant::now());
        }
        let recalled = state.recall.is_some();
        let wake = std::mem::take(&mut state.held_up);
        drop(state);
        if wake {
            self.shared.receiver.wake();
        }
        if recalled {
            self.shared.supervisor.notify_one();
        }
        writing
    }

    /// Asks whether what earlier calls issued got through: the broker answers after it.
    async fn ask(&mut self, channel: &Channel, deadline: Instant) {
        // Holds for consumers yet to come, of which there are none on this channel.
        let asking = channel.basic_qos(1, BasicQosOptions { global: false });
        let slots = || self.unknown.iter().map(|n| self.settlements[*n].0.slot);
        match timeout_at(deadline, asking).await {
            Ok(Ok(())) => {
                let mut state = self.shared.lock();
                if state.epoch == self.epoch {
                    state.unwritten.retain(|slot| !slots().any(|known| known == *slot));
                }
                drop(state);
                self.unknown.iter().for_each(|n| self.results[*n] = Ok(()));
            }
            Ok(Err(error)) => {
                self.shared.lose(self.epoch, error::text(&error));
                self.unknown.iter().for_each(|n| self.results[*n] = Err(error::stale()));
            }
            Err(_) => {}
        }
    }

    /// The results when nothing is known by the deadline.
    fn unanswered(mut self) -> Vec<Result<()>> {
        self.leave_unwritten();
        self.replace_ok(not_written);
        std::mem::take(&mut self.results)
    }

    fn replace_ok(&mut self, error: fn() -> Error) {
        self.results.iter_mut().filter(|r| r.is_ok()).for_each(|result| *result = Err(error()));
    }

    fn leave_unwritten(&mut self) {
        self.answered = true;
        let mut state = self.shared.lock();
        if state.epoch == self.epoch {
            let issued = self.settlements.iter().zip(&self.results).filter(|(_, r)| r.is_ok());
            state.unwritten.extend(issued.map(|((token, _), _)| token.slot));
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.leave_unwritten();
        }
    }
}

/// Takes one delivery out of hand. A retryable error says that an earlier call has done so.
fn take(
    state: &mut State,
    token: Token,
    settlement: Settlement,
    consumer: u32,
    ordered: bool,
) -> Result<()> {
    if !state.is_current(token, consumer) {
        return Err(error::stale());
    }
    let is_recall = ordered && settlement == Settlement::Release;
    let taken = match is_recall {
        // It stays with the broker as it is until everything is taken back.
        true => state.watermark.keep(token.slot),
        false => state.watermark.settle(token.slot),
    };
    if taken && is_recall {
        state.recall();
    }
    match taken {
        true => Ok(()),
        false if state.unwritten.contains(&token.slot) => Err(not_written()),
        false => Err(error::stale()),
    }
}

fn not_written() -> Error {
    error::late("the settlement was not written in time").with_operation("settle")
}

async fn write(channel: &Channel, frame: Frame) -> lapin::Result<()> {
    match frame {
        Frame::Ack(tag) => channel.basic_ack(tag, BasicAckOptions { multiple: false }).await,
        Frame::AckUpTo(tag) => channel.basic_ack(tag, BasicAckOptions { multiple: true }).await,
        Frame::Nack(tag) => {
            channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await
        }
    }
}

/// Waits while nothing can be written: says whether it can by `deadline`.
async fn until_unblocked(attachment: &Attachment, deadline: Instant) -> bool {
    while attachment.session.is_blocked() {
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        sleep_until(deadline.min(now + BLOCKED_TICK)).await;
    }
    true
}
