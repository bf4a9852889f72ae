use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use polymq_core::Error;
use polymq_core::broker::Token;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lane::{GivenUp, Lane, Tokens};
use super::plan::Attached;
use super::sources::Source;

/// How long a lane of an ordered consumer that was given something back lets the rest in hand be finished
/// before it takes everything back.
const RECALL_GRACE: Duration = Duration::from_secs(1);

/// What `recv`, `settle` and the supervisor of one consumer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tokens: Tokens,
    state: Mutex<State>,
    /// Wakes `recv`.
    pub(crate) receiver: AtomicWaker,
    /// Wakes the supervisor.
    pub(crate) supervisor: Notify,
}

/// How a consumer stands.
#[derive(Debug)]
pub(crate) struct State {
    tokens: Tokens,
    /// Those in use, the oldest first. Dropped before the sources, which must not cancel themselves on an
    /// open AMQP channel.
    pub(crate) lanes: Vec<Lane>,
    /// Sources of new lanes, until `recv` takes them.
    pub(super) arrivals: Vec<Source>,
    /// Lanes came, stopped or went since `recv` looked at them.
    pub(super) has_changed: bool,
    /// The number of the latest lane.
    latest: u32,
    prefetch: usize,
    /// What the next `recv` fails with.
    pub(super) failure: Option<Error>,
    /// `recv` waits for room.
    pub(crate) held_up: bool,
    pub(super) buffered: usize,
    pub(super) paused: bool,
    pub(super) closed: bool,
}

/// What the supervisor has to do.
pub(super) enum Order {
    /// This lane has ended.
    Renew(GivenUp),
    /// Look again, at this moment at the latest.
    Wait(Option<Instant>),
}

impl Shared {
    pub(super) fn new(tokens: Tokens, prefetch: usize) -> Self {
        let state = State {
            tokens,
            lanes: Vec::new(),
            arrivals: Vec::new(),
            has_changed: false,
            latest: 0,
            prefetch: prefetch.max(1),
            failure: None,
            held_up: false,
            buffered: 0,
            paused: false,
            closed: false,
        };
        Self {
            tokens,
            state: Mutex::new(state),
            receiver: AtomicWaker::new(),
            supervisor: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This lane is of no use any more.
    pub(crate) fn lose(&self, lane: u32, reason: String) {
        let mut state = self.lock();
        let Some(found) = state.lanes.iter_mut().find(|l| l.number == lane) else { return };
        found.lost.get_or_insert(reason);
        state.has_changed = true;
        drop(state);
        self.receiver.wake();
        self.supervisor.notify_one();
    }

    /// Puts what was attached in use, for a partition or for good; a closed consumer gives it up again.
    pub(super) fn install(&self, attached: Attached, partition: Option<usize>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let Attached { attachment, streams } = attached;
        state.latest += 1;
        let number = state.latest;
        state.lanes.push(Lane::new(number, partition, attachment));
        let sources =
            streams.into_iter().map(|(origin, stream)| Source::new(number, origin, stream));
        state.arrivals.extend(sources);
        state.has_changed = true;
        state.failure = None;
        drop(state);
        self.receiver.wake();
    }

    /// Takes lanes out of use: their tokens are stale.
    pub(super) fn give_up(&self, which: impl Fn(&Lane) -> bool) -> Vec<GivenUp> {
        let mut state = self.lock();
        let gone: Vec<_> = state.lanes.extract_if(.., |lane| which(lane)).collect();
        state.has_changed = true;
        drop(state);
        self.receiver.wake();
        gone.into_iter().map(|lane| lane.give_up(self.tokens)).collect()
    }

    /// The next `recv` fails with this.
    pub(super) fn fail(&self, error: Error) {
        self.lock().failure = Some(error);
        self.receiver.wake();
    }

    /// Nothing is handed out any more.
    pub(super) fn shut(&self) {
        self.lock().closed = true;
        self.receiver.wake();
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.receiver.wake();
        self.supervisor.notify_one();
    }
}

impl State {
    /// The lane of a token, whether its delivery is settled or not.
    pub(crate) fn lane(&mut self, token: Token) -> Option<&mut Lane> {
        let is_ours = token.consumer == self.tokens.consumer;
        self.lanes.iter_mut().find(|lane| is_ours && lane.number == token.generation)
    }

    /// The broker knows the consumer. Of the partitions it may have none: others have them.
    pub(super) fn is_attached(&self) -> bool {
        let mut base = self.lanes.iter().filter(|lane| lane.partition.is_none());
        base.any(|lane| lane.lost.is_none() && lane.attachment.is_up())
    }

    /// How many deliveries may be handed out now.
    pub(super) fn room(&self) -> usize {
        if self.paused {
            return 0;
        }
        self.prefetch.saturating_sub(self.in_hand())
    }

    /// How many deliveries are in hand.
    pub(super) fn in_hand(&self) -> usize {
        self.lanes.iter().map(|lane| lane.watermark.in_hand()).sum()
    }

    /// Hands a delivery out; says whether its lane still does so. If not, it comes again.
    pub(super) fn hand_out(&mut self, lane: u32, tag: u64) -> bool {
        let open = self.lanes.iter_mut().find(|l| l.number == lane && l.is_open());
        open.map(|lane| lane.watermark.hand_out(tag)).is_some()
    }

    /// A delivery of an ordered consumer was given back: its lane ends, and all of it comes again.
    pub(crate) fn recall(&mut self, token: Token) {
        if let Some(lane) = self.lane(token) {
            lane.stop(Instant::now() + RECALL_GRACE);
            self.has_changed = true;
        }
    }

    /// Whether a lane waits for its end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.lanes.iter().any(|lane| lane.stopping.is_some())
    }

    pub(super) fn order(&mut self) -> Order {
        let now = Instant::now();
        let lanes = self.lanes.iter().enumerate();
        let ends = lanes.filter_map(|(n, lane)| Some((lane.ends_at(now, self.paused)?, n)));
        match ends.min() {
            Some((at, n)) if at <= now => {
                self.has_changed = true;
                Order::Renew(self.lanes.remove(n).give_up(self.tokens))
            }
            first => Order::Wait(first.map(|(at, _)| at)),
        }
    }
}
