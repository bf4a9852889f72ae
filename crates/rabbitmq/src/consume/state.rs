use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use polymq_core::broker::Token;
use polymq_core::{Error, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::attachment::Attachment;
use super::sources::Sources;
use crate::settle::Watermark;

/// How long an ordered consumer that was given something back lets the rest in hand be finished before
/// it takes everything back.
const RECALL_GRACE: Duration = Duration::from_secs(1);

/// How long settlements may take to reach a quorum queue. Its broker-side client holds back what is above
/// 32 commands in flight, tells nobody, and drops it when the AMQP channel closes: those messages would
/// come again.
const SETTLING: Duration = Duration::from_millis(100);

/// What `recv`, `settle` and the supervisor of one consumer share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes `recv`.
    pub(crate) receiver: AtomicWaker,
    /// Wakes the supervisor.
    pub(crate) supervisor: Notify,
}

/// How a consumer stands.
#[derive(Debug)]
pub(crate) struct State {
    /// Grows with every attachment that is given up.
    pub(crate) epoch: u32,
    pub(crate) attachment: Option<Arc<Attachment>>,
    /// The sources of this attachment, until `recv` takes them.
    pub(crate) sources: Option<Sources>,
    pub(crate) watermark: Watermark,
    /// Tags whose settlement was issued and whose caller never learned that it was written.
    pub(crate) unwritten: Vec<u64>,
    /// When frames were last issued.
    pub(crate) issued: Option<Instant>,
    /// Why the attachment has to be given up.
    pub(crate) lost: Option<String>,
    /// An ordered consumer was given something back: nothing is handed out until all comes again, when
    /// nothing is in hand any more, at this moment at the latest.
    pub(crate) recall: Option<Instant>,
    /// What the next `recv` fails with.
    pub(crate) failure: Option<Error>,
    /// `recv` waits for room.
    pub(crate) held_up: bool,
    pub(crate) buffered: usize,
    pub(crate) paused: bool,
    pub(crate) closed: bool,
}

/// What the supervisor has to do.
pub(crate) enum Order {
    /// Give up the attachment, and attach again.
    Renew(Reason),
    /// Look again, at this moment at the latest.
    Wait(Option<Instant>),
}

/// Why an attachment is given up.
pub(crate) enum Reason {
    /// The connection is gone.
    Disconnected(String),
    /// The broker ended the AMQP channel, or a consumer on it.
    Lost(String),
    /// An ordered consumer was given something back.
    Recall,
}

/// An attachment that was given up. It is closed before its sources are dropped.
pub(crate) struct GivenUp {
    attachment: Option<Arc<Attachment>>,
    issued: Option<Instant>,
    _sources: Option<Sources>,
    /// Those that were unsettled.
    pub(crate) tokens: Vec<Token>,
}

impl GivenUp {
    /// Closes the AMQP channel, after what was settled on it has taken effect, by `deadline`.
    ///
    /// # Errors
    /// `Timeout`.
    pub(crate) async fn close(&self, deadline: Instant) -> Result<()> {
        let Some(attachment) = &self.attachment else { return Ok(()) };
        if let Some(issued) = self.issued {
            sleep_until(deadline.min(issued + SETTLING)).await;
        }
        attachment.close(deadline).await
    }
}

impl Default for Shared {
    fn default() -> Self {
        let state = State {
            epoch: 1,
            attachment: None,
            sources: None,
            watermark: Watermark::default(),
            unwritten: Vec::new(),
            issued: None,
            lost: None,
            recall: None,
            failure: None,
            held_up: false,
            buffered: 0,
            paused: false,
            closed: false,
        };
        Self { state: Mutex::new(state), receiver: AtomicWaker::new(), supervisor: Notify::new() }
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attachment of `epoch` is of no use any more.
    pub(crate) fn lose(&self, epoch: u32, reason: String) {
        let mut state = self.lock();
        if state.epoch == epoch && state.attachment.is_some() {
            state.lost.get_or_insert(reason);
            drop(state);
            self.supervisor.notify_one();
        }
    }

    /// Puts a new attachment in place; a closed consumer gives it up again.
    pub(crate) fn install(&self, attachment: Attachment, sources: Sources) {
        let mut state = self.lock();
        if state.closed {
            // In this order: the sources must not cancel themselves on an open channel.
            drop(attachment);
            drop(sources);
            return;
        }
        state.attachment = Some(Arc::new(attachment));
        state.sources = Some(sources);
        state.failure = None;
        drop(state);
        self.receiver.wake();
    }

    /// The next `recv` fails with this.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failure = Some(error);
        self.receiver.wake();
    }

    /// Nothing is handed out any more.
    pub(crate) fn shut(&self) {
        self.lock().closed = true;
        self.receiver.wake();
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.receiver.wake();
        self.supervisor.notify_one();
    }
}

impl State {
    /// How many deliveries may be handed out now.
    pub(crate) fn room(&self, prefetch: usize) -> usize {
        if self.paused || self.recall.is_some() || self.lost.is_some() {
            return 0;
        }
        prefetch.saturating_sub(self.watermark.in_hand())
    }

    /// Whether a token stands for a delivery of this attachment, settled or not.
    pub(crate) fn is_current(&self, token: Token, consumer: u32) -> bool {
        token.consumer == consumer && token.epoch == self.epoch
    }

    /// An ordered consumer was given something back.
    pub(crate) fn recall(&mut self) {
        self.recall.get_or_insert_with(|| Instant::now() + RECALL_GRACE);
    }

    pub(crate) fn order(&mut self) -> Order {
        if let Some(reason) = self.lost.take() {
            return Order::Renew(Reason::Lost(reason));
        }
        match self.recall {
            Some(latest) if self.watermark.in_hand() == 0 || self.is_overdue(latest) => {
                Order::Renew(Reason::Recall)
            }
            // Whoever drains pauses first, and finishes what is in hand.
            Some(latest) if !self.paused => Order::Wait(Some(latest)),
            _ => Order::Wait(None),
        }
    }

    fn is_overdue(&self, latest: Instant) -> bool {
        !self.paused && Instant::now() >= latest
    }

    /// Gives up the attachment of consumer number `consumer`: every token so far is stale.
    pub(crate) fn detach(&mut self, consumer: u32) -> GivenUp {
        let epoch = self.epoch;
        let token = |slot| Token { consumer, epoch, slot, generation: 0 };
        let tokens = self.watermark.tags_in_hand().map(token).collect();
        self.epoch += 1;
        self.watermark = Watermark::default();
        self.unwritten.clear();
        self.lost = None;
        self.recall = None;
        self.buffered = 0;
        GivenUp {
            attachment: self.attachment.take(),
            issued: self.issued.take(),
            _sources: self.sources.take(),
            tokens,
        }
    }
}
