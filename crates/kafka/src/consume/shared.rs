use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use polymq_core::broker::{EventSender, Settlement, Token};
use polymq_core::{Clock, Delivery, Error, Origin, Result, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::settings;
use crate::error;
use crate::settle::Table;

/// What the calls of a consumer share with its thread.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes `recv`.
    arrived: Notify,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) events: EventSender,
    thread: OnceLock<Thread>,
    /// How many messages are kept at hand.
    pub(super) buffer: usize,
}

/// How far a consumer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has never been attached.
    Attaching,
    /// The group knows it.
    Attached,
    /// It was attached, and is going to be.
    Detached,
    /// Its thread has ended, with everything that could be told to the brokers told or not.
    Ended { flushed: bool },
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) table: Table,
    /// What the next `recv` fails with.
    failure: Option<Error>,
    pub(super) paused: bool,
    /// Nothing is handed out any more.
    pub(super) closing: Option<Closing>,
    /// `recv` waits for settlements.
    held_up: bool,
    /// The thread knows that there is something to commit.
    pub(super) is_commit_planned: bool,
    /// The channel's topic has been gone: what is there now has never been read.
    pub(super) is_channel_anew: bool,
    /// The thread waits for room.
    pub(super) is_fetching_less: bool,
}

/// How a consumer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// What is done is committed, until this moment at the latest.
    Orderly(Instant),
    /// At once and without a word.
    Dropped,
}

impl Shared {
    pub(super) fn new(table: Table, prefetch: usize) -> Self {
        Self {
            state: Mutex::new(State {
                table,
                failure: None,
                paused: false,
                closing: None,
                held_up: false,
                is_commit_planned: false,
                is_channel_anew: false,
                is_fetching_less: false,
            }),
            arrived: Notify::new(),
            phase: watch::Sender::new(Phase::Attaching),
            events: EventSender::default(),
            thread: OnceLock::new(),
            buffer: settings::buffer(prefetch),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes this thread from now on.
    pub(super) fn wakes(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// There is something for the thread to do.
    pub(super) fn wake_thread(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// There is something for `recv`.
    pub(super) fn wake_receiver(&self) {
        self.arrived.notify_one();
    }

    /// The next `recv` fails with this.
    pub(super) fn fail(&self, error: Error) {
        self.lock().failure = Some(error);
        self.wake_receiver();
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        self.lock().failure.take()
    }

    pub(super) fn closing(&self) -> Option<Closing> {
        self.lock().closing
    }

    /// Ends the consumer; an end without a word is not undone.
    pub(super) fn close(&self, how: Closing) {
        let mut state = self.lock();
        if state.closing != Some(Closing::Dropped) {
            state.closing = Some(how);
        }
        drop(state);
        self.wake_receiver();
        self.wake_thread();
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.wake_receiver();
    }

    /// Waits for deliveries. One caller at a time.
    pub(super) async fn receive(&self, clock: &dyn Clock, max: usize) -> Result<Vec<Delivery>> {
        loop {
            let arrived = self.arrived.notified();
            let now = clock.now();
            let release = match self.take(now, max)? {
                Taken::Deliveries(deliveries) => return Ok(deliveries),
                Taken::Nothing { release } => release,
            };
            match release {
                Some(at) => {
                    let _ = tokio::time::timeout_at(clock.instant_of(at), arrived).await;
                }
                None => arrived.await,
            }
        }
    }

    fn take(&self, now: Timestamp, max: usize) -> Result<Taken> {
        let mut state = self.lock();
        if state.closing.is_some() {
            return Err(error::closed("consumer"));
        }
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if state.paused {
            return Ok(Taken::Nothing { release: None });
        }
        let deliveries = state.table.hand_out(now, max);
        state.held_up = state.table.room() == 0;
        let is_needed = state.table.commits().urgent
            || (state.is_fetching_less && state.has_room(now, self.buffer));
        let taken = match deliveries.is_empty() {
            true => Taken::Nothing { release: state.table.next_release(now) },
            false => Taken::Deliveries(deliveries),
        };
        drop(state);
        if is_needed {
            self.wake_thread();
        }
        Ok(taken)
    }

    /// Settles a batch, and has it committed in time.
    pub(super) fn settle(&self, settlements: &[(Token, Settlement)]) -> Vec<Result<()>> {
        let mut state = self.lock();
        let results = settlements
            .iter()
            .map(|(token, how)| state.table.settle(*token, *how).ok_or_else(error::stale))
            .collect();
        let has_released = settlements.iter().any(|(_, how)| *how == Settlement::Release);
        let wake_receiver = std::mem::take(&mut state.held_up) || has_released;
        let commits = state.table.commits();
        let wake_thread =
            commits.any && (commits.urgent || !state.is_commit_planned) || state.table.has_left();
        drop(state);
        if wake_receiver {
            self.wake_receiver();
        }
        if wake_thread {
            self.wake_thread();
        }
        results
    }
}

enum Taken {
    Deliveries(Vec<Delivery>),
    Nothing { release: Option<Timestamp> },
}

impl State {
    /// There is room for another burst of the channel.
    pub(super) fn has_room(&self, now: Timestamp, buffer: usize) -> bool {
        let (count, bytes) = self.table.backlog(Origin::Channel, now);
        count <= buffer / 2 && bytes <= settings::BUFFER_BYTES / 2
    }

    /// How many more messages of the channel fit.
    pub(super) fn room(&self, now: Timestamp, buffer: usize) -> usize {
        let (count, bytes) = self.table.backlog(Origin::Channel, now);
        if bytes >= settings::BUFFER_BYTES { 0 } else { buffer.saturating_sub(count) }
    }
}
