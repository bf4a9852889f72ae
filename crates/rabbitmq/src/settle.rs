//! Settling: as few frames as say it, and no tag twice.
//!
//! An acknowledgement of one tag, with all below it, is worth as many as it covers: the broker handles
//! five times as many a second. So what a call settles up to the watermark goes as one frame, and only
//! what is above it goes tag by tag; all frames of a call are issued at once and written together.
//!
//! A frame cannot be called back. A tag whose frame was issued is settled, whether or not its caller
//! learned that it was written: settled again, it is only asked whether the frame got through.

mod watermark;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions};
use polymq_core::broker::{Settlement, Token};
use polymq_core::{Error, Result};
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use crate::consume::{Attachment, Lane, Shared, State};
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
    settlements: &'a [(Token, Settlement)],
    /// So far; those issued count as settled.
    results: Vec<Result<()>>,
    /// Which ones an earlier call has issued without learning that they were written.
    unknown: Vec<usize>,
    answered: bool,
}

/// The writing of the last frame that was issued on a lane, by which all on it are written.
struct Writing {
    lane: u32,
    done: BoxFuture<'static, lapin::Result<()>>,
}

/// Settles deliveries of a consumer: see
/// [`Consumer::settle`](polymq_core::broker::Consumer::settle).
pub(crate) async fn settle(
    shared: &Shared,
    settlements: &[(Token, Settlement)],
    deadline: Instant,
) -> Vec<Result<()>> {
    let attachment = shared.lock().lanes.first().map(|lane| Arc::clone(&lane.attachment));
    let Some(attachment) = attachment.filter(|a| a.session.is_up()) else {
        return settlements.iter().map(|_| Err(error::stale())).collect();
    };
    if !until_unblocked(&attachment, deadline).await {
        return settlements.iter().map(|_| Err(error::blocked())).collect();
    }
    let mut call = Call {
        shared,
        settlements,
        results: Vec::with_capacity(settlements.len()),
        unknown: Vec::new(),
        answered: false,
    };
    for Writing { lane, done } in call.issue() {
        match timeout_at(deadline, done).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                shared.lose(lane, error::text(&error));
                call.replace_ok(|token| token.generation == lane, error::stale);
            }
            Err(_) => return call.unanswered(),
        }
    }
    call.answered = true;
    if !call.unknown.is_empty() {
        call.ask(deadline).await;
    }
    std::mem::take(&mut call.results)
}

impl Call<'_> {
    /// Decides what becomes of each settlement and issues the frames, in one go: what a later call
    /// issues is written later.
    fn issue(&mut self) -> Vec<Writing> {
        let ordered = self.shared.tokens.ordered;
        let mut state = self.shared.lock();
        for (n, (token, settlement)) in self.settlements.iter().enumerate() {
            let result = take(&mut state, *token, *settlement, ordered);
            if result.as_ref().is_err_and(Error::is_retryable) {
                self.unknown.push(n);
            }
            self.results.push(result);
        }
        let writings = state.lanes.iter_mut().filter_map(|lane| self.issue_on(lane, ordered));
        let writings = writings.collect();
        let has_ending = state.is_stopping();
        let wake = std::mem::take(&mut state.held_up) || has_ending;
        drop(state);
        if wake {
            self.shared.receiver.wake();
        }
        if has_ending {
            self.shared.supervisor.notify_one();
        }
        writings
    }

    /// Issues the frames of one lane.
    fn issue_on(&self, lane: &mut Lane, ordered: bool) -> Option<Writing> {
        let settled_up_to = lane.watermark.settled_up_to();
        let attachment = &lane.attachment;
        let mut last = None;
        let mut issue = |frame| {
            if let Some(before) = last.replace(frame) {
                // The first poll issues it. Should that fail, so does the last one.
                let _ = write(&attachment.channel, before).now_or_never();
            }
        };
        let mut covered = None;
        for ((token, settlement), result) in self.settlements.iter().zip(&self.results) {
            match settlement {
                _ if result.is_err() || token.generation != lane.number => {}
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
        let frame = last?;
        let attachment = Arc::clone(attachment);
        lane.issued = Some(Instant::now());
        let mut done = async move { write(&attachment.channel, frame).await }.boxed();
        match (&mut done).now_or_never() {
            Some(Ok(())) => None,
            Some(failed) => Some(std::future::ready(failed).boxed()),
            None => Some(done),
        }
        .map(|done| Writing { lane: lane.number, done })
    }

    /// Asks whether what earlier calls issued got through: the broker answers after it.
    async fn ask(&mut self, deadline: Instant) {
        let mut unknown = std::mem::take(&mut self.unknown);
        while let Some((token, _)) = unknown.first().map(|n| self.settlements[*n]) {
            let lane = token.generation;
            let is_here = |n: &usize| self.settlements[*n].0.generation == lane;
            let (here, elsewhere) = unknown.into_iter().partition(is_here);
            unknown = elsewhere;
            self.ask_on(token, here, deadline).await;
        }
    }

    /// Asks on the lane of this token.
    async fn ask_on(&mut self, token: Token, unknown: Vec<usize>, deadline: Instant) {
        let found = self.shared.lock().lane(token).map(|lane| Arc::clone(&lane.attachment));
        let Some(attachment) = found else {
            unknown.iter().for_each(|n| self.results[*n] = Err(error::stale()));
            return;
        };
        // Holds for consumers yet to come, of which there are none on this channel.
        let asking = attachment.channel.basic_qos(1, BasicQosOptions { global: false });
        match timeout_at(deadline, asking).await {
            Ok(Ok(())) => {
                let is_known = |slot| unknown.iter().any(|n| self.settlements[*n].0.slot == slot);
                if let Some(lane) = self.shared.lock().lane(token) {
                    lane.unwritten.retain(|slot| !is_known(*slot));
                }
                unknown.iter().for_each(|n| self.results[*n] = Ok(()));
            }
            Ok(Err(error)) => {
                self.shared.lose(token.generation, error::text(&error));
                unknown.iter().for_each(|n| self.results[*n] = Err(error::stale()));
            }
            Err(_) => {}
        }
    }

    /// The results when nothing is known by the deadline.
    fn unanswered(mut self) -> Vec<Result<()>> {
        self.leave_unwritten();
        self.replace_ok(|_| true, not_written);
        std::mem::take(&mut self.results)
    }

    fn replace_ok(&mut self, which: impl Fn(&Token) -> bool, error: fn() -> Error) {
        for (result, (token, _)) in self.results.iter_mut().zip(self.settlements) {
            if result.is_ok() && which(token) {
                *result = Err(error());
            }
        }
    }

    fn leave_unwritten(&mut self) {
        self.answered = true;
        let mut state = self.shared.lock();
        for ((token, _), _) in self.settlements.iter().zip(&self.results).filter(|(_, r)| r.is_ok())
        {
            if let Some(lane) = state.lane(*token) {
                lane.unwritten.push(token.slot);
            }
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
fn take(state: &mut State, token: Token, settlement: Settlement, ordered: bool) -> Result<()> {
    let Some(lane) = state.lane(token) else { return Err(error::stale()) };
    let is_recall = ordered && settlement == Settlement::Release;
    let taken = match is_recall {
        // It stays with the broker as it is until everything is taken back.
        true => lane.watermark.keep(token.slot),
        false => lane.watermark.settle(token.slot),
    };
    let is_unwritten = !taken && lane.unwritten.contains(&token.slot);
    if taken && is_recall {
        state.recall(token);
    }
    match taken {
        true => Ok(()),
        false if is_unwritten => Err(not_written()),
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
