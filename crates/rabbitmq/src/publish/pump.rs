//! The pump: one AMQP channel, a window of unconfirmed messages.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, PublisherConfirm};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;

use super::Shared;
use super::batch::{Batch, Item, Job};
use super::open::confirming;
use super::route::Route;
use super::window::{Size, Window};
use crate::convert;
use crate::link::{Session, State};

/// How many places of writings are kept for the next ones. Each has nearly 2 KB.
const SPARE: usize = 128;

/// Serves calls until there are no more.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut link: watch::Receiver<State>,
    jobs: mpsc::Receiver<Job>,
) {
    let mut pump =
        Pump { shared, jobs, waiting: VecDeque::new(), spare: Vec::new(), closing: false };
    while let Some(deadline) = pump.work().await {
        match confirming(&mut link, deadline).await {
            Some((session, channel)) => {
                pump.serve(&mut link, &session, &Arc::new(channel)).await;
            }
            None if matches!(&*link.borrow(), State::Closed) => return,
            None => {}
        }
    }
}

/// Starts to write a message: the frames are queued when this returns, in the order of the calls. The
/// future ends when they are written; it takes the place of the one in `place`, which has ended.
pub(super) fn write(
    shared: &Shared,
    channel: &Arc<Channel>,
    item: &Item,
    mandatory: bool,
    place: Option<Writing>,
) -> Writing {
    let Route { exchange, key } = item.route.clone();
    let message = &item.send.message;
    let properties = convert::write(message, &shared.source);
    let payload = message.payload().cloned().unwrap_or_default();
    let channel = Arc::clone(channel);
    let publishing = async move {
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        channel.basic_publish(exchange, key, options, &payload, properties).await
    };
    let mut writing = match place {
        Some(mut place) => {
            place.set(publishing);
            place
        }
        None => ReusableBoxFuture::new(publishing),
    };
    // lapin queues the frames in the first poll. Whoever awaits the future later polls again.
    if let Poll::Ready(written) = writing.poll(&mut Context::from_waker(Waker::noop())) {
        writing.set(ready(written));
    }
    writing
}

pub(super) type Writing = ReusableBoxFuture<'static, lapin::Result<PublisherConfirm>>;

struct Pump {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    /// What is to be written, in order: the rest of a call, and what a lost channel left.
    waiting: VecDeque<Job>,
    /// Places of writings that have ended.
    spare: Vec<Writing>,
    /// No more calls come.
    closing: bool,
}

/// A piece that has come to its end.
struct Answered {
    size: Size,
    /// What the end of the AMQP channel left without an answer.
    left: Vec<(Item, lapin::Error)>,
    batch: Arc<Batch>,
    writings: Vec<Writing>,
}

impl Pump {
    /// Waits for something to write, and says until when it is worth writing; `None` when nothing comes
    /// any more.
    async fn work(&mut self) -> Option<Instant> {
        loop {
            self.waiting.retain(|job| !job.batch.is_over());
            if let Some(deadline) = self.waiting.iter().map(|job| job.batch.deadline).max() {
                return Some(deadline);
            }
            if self.closing {
                return None;
            }
            match self.jobs.recv().await {
                Some(job) => self.waiting.push_back(job),
                None => self.closing = true,
            }
        }
    }

    fn is_done(&self) -> bool {
        self.closing && self.waiting.is_empty()
    }

    /// Writes on this channel until it ends or nothing more comes.
    async fn serve(
        &mut self,
        link: &mut watch::Receiver<State>,
        session: &Session,
        channel: &Arc<Channel>,
    ) {
        let mut pieces = FuturesUnordered::new();
        let mut window = Window::new(self.shared.window);
        let mut lost = VecDeque::new();
        let mut ended = false;
        loop {
            while !ended && !session.is_blocked() {
                let Some(piece) = self.next_piece(&window) else { break };
                window.enter(Size::of(&piece.items));
                pieces.push(self.start(channel, piece));
            }
            if pieces.is_empty() && (ended || self.is_done()) {
                break;
            }
            let room = !ended && !self.closing && self.waiting.is_empty();
            tokio::select! {
                biased;
                Some(mut answered) = pieces.next(), if !pieces.is_empty() => {
                    window.leave(answered.size);
                    answered.writings.truncate(SPARE.saturating_sub(self.spare.len()));
                    self.spare.append(&mut answered.writings);
                    if !answered.left.is_empty() {
                        ended = true;
                        lost.extend(self.judge(answered));
                    }
                }
                job = self.jobs.recv(), if room => match job {
                    Some(job) => self.waiting.push_back(job),
                    None => self.closing = true,
                },
                // Blocked, unblocked, or lost.
                _ = link.changed(), if !ended => ended = !session.is_up() || !channel.status().connected(),
            }
        }
        lost.append(&mut self.waiting);
        self.waiting = lost;
    }

    /// The next messages to be written, as many as the window lets in.
    fn next_piece(&mut self, window: &Window) -> Option<Job> {
        loop {
            if self.waiting.is_empty() {
                match self.jobs.try_recv() {
                    Ok(job) => self.waiting.push_back(job),
                    Err(mpsc::error::TryRecvError::Empty) => return None,
                    Err(mpsc::error::TryRecvError::Disconnected) => {
                        self.closing = true;
                        return None;
                    }
                }
            }
            let job = self.waiting.front_mut()?;
            let batch = Arc::clone(&job.batch);
            let count = window.fit(&job.items)?;
            let rest = job.items.split_off(count);
            let items = std::mem::replace(&mut job.items, rest);
            if job.items.is_empty() {
                self.waiting.pop_front();
            }
            if batch.begin(&items) {
                return Some(Job { items, batch });
            }
        }
    }

    /// Writes a piece. The future ends when the broker has answered for all of it.
    fn start(
        &mut self,
        channel: &Arc<Channel>,
        piece: Job,
    ) -> impl Future<Output = Answered> + use<> {
        let Job { items, batch } = piece;
        let write = |item| write(&self.shared, channel, item, false, self.spare.pop());
        let writings: Vec<_> = items.iter().map(write).collect();
        answers(Arc::clone(&self.shared), batch, items, writings)
    }

    /// Settles what the end of a channel settles; the rest is to be written again.
    fn judge(&self, answered: Answered) -> Option<Job> {
        let Answered { left, batch, .. } = answered;
        let mut again = Vec::with_capacity(left.len());
        let mut settled = Vec::new();
        for (mut item, reason) in left {
            match self.shared.accused(&reason, &mut item) {
                Some(outcome) => settled.push((item.index, outcome)),
                None => again.push(item),
            }
        }
        batch.resolve(settled.into_iter());
        (!again.is_empty()).then_some(Job { items: again, batch })
    }
}

/// Waits for the broker's answers to a piece, in the order of its messages.
async fn answers(
    shared: Arc<Shared>,
    batch: Arc<Batch>,
    items: Vec<Item>,
    mut writings: Vec<Writing>,
) -> Answered {
    let size = Size::of(&items);
    let mut outcomes = Vec::with_capacity(items.len());
    let mut failed = Vec::new();
    for (n, (item, writing)) in items.iter().zip(&mut writings).enumerate() {
        match answer(writing).await {
            Ok(answer) => outcomes.push((item.index, shared.answered(&answer, item))),
            Err(reason) => failed.push((n, reason)),
        }
    }
    batch.resolve(outcomes.into_iter());
    let mut failed = failed.into_iter().peekable();
    let left = items.into_iter().enumerate().filter_map(|(n, item)| {
        failed.next_if(|(at, _)| *at == n).map(|(_, reason)| (item, reason))
    });
    Answered { size, left: left.collect(), batch, writings }
}

/// The broker's answer to one message.
pub(super) async fn answer(writing: &mut Writing) -> lapin::Result<lapin::Confirmation> {
    writing.await?.await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::super::scene::{item, shared};
    use super::*;
    use crate::error;

    /// As long as a pump without a connection runs that gets these jobs and then no more.
    async fn run_without_a_connection(work: Vec<Job>) -> Duration {
        let (_state, link) = watch::channel(State::Down(Arc::new(error::late("away"))));
        let (sender, jobs) = mpsc::channel(work.len().max(1));
        for job in work {
            sender.send(job).await.unwrap();
        }
        drop(sender);
        let began = Instant::now();
        let running = run(Arc::new(shared()), link, jobs);
        timeout(Duration::from_secs(3600), running).await.unwrap();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pump_with_nothing_to_write_needs_no_connection_to_end() {
        assert!(run_without_a_connection(Vec::new()).await < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pump_gives_up_what_nobody_waits_for_any_more() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let batch = Arc::new(Batch::new(1, deadline));
        let job = Job { items: vec![item(&shared(), 1)], batch };
        let took = run_without_a_connection(vec![job]).await;
        assert!((60..=61).contains(&took.as_secs()), "{took:?}");
    }
}
