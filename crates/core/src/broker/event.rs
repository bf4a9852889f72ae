use tokio::sync::broadcast;
use tokio::time::Instant;

use super::Token;

/// Something that happened to a connection or a consumer.
///
/// Events are hints that save work. Nothing depends on them: whoever missed one learns the same from
/// `StaleToken` results and from [`Consumer::status`](super::Consumer::status).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Partitions of the channel were given to this consumer. Brokers without partitions name
    /// partition 0.
    Assigned {
        /// Which.
        partitions: Vec<u32>,
    },
    /// Partitions are being taken away. Nothing of them is handed out any more; the adapter waits
    /// until every delivery named here is settled, or for the deadline.
    Revoked {
        /// Everything in hand of what is being taken, retry inbox included.
        tokens: Vec<Token>,
        /// The partitions of the channel, for people.
        partitions: Vec<u32>,
        /// After it, these tokens are stale.
        deadline: Instant,
    },
    /// The broker takes no more for now.
    Blocked {
        /// What the broker said.
        reason: String,
    },
    /// The broker takes messages again.
    Unblocked,
    /// The connection is gone; the adapter is reconnecting.
    Disconnected {
        /// Why, without secrets.
        reason: String,
    },
    /// The connection is back. Tokens that went stale with it are named in [`Event::LeaseLost`].
    Recovered,
    /// A stalled subscription was made anew.
    Recreated {
        /// What was noticed.
        reason: String,
    },
    /// Deliveries are no longer this consumer's: they will be handed out again.
    LeaseLost {
        /// Which.
        tokens: Vec<Token>,
    },
    /// The broker refuses the credentials; the adapter tries again with re-read ones.
    AuthFailed {
        /// What the broker said, without secrets.
        reason: String,
    },
    /// An object that the topology needs has gone.
    TopologyLost {
        /// Its physical name.
        object: String,
    },
    /// Messages were confirmed that no queue took: they are kept where nobody consumes them, until
    /// somebody moves or deletes them.
    Homeless {
        /// The physical name of where they are.
        object: String,
        /// How many.
        messages: u64,
    },
    /// The adapter gave up: nothing will happen without a restart.
    Fatal {
        /// Why, without secrets.
        reason: String,
    },
    /// The receiver was too slow and missed this many events.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// How many events wait for a slow receiver before it misses some.
const CAPACITY: usize = 256;

/// The adapter's end: sends events to everyone who listens.
#[derive(Debug, Clone)]
pub struct EventSender(broadcast::Sender<Event>);

impl Default for EventSender {
    fn default() -> Self {
        Self(broadcast::channel(CAPACITY).0)
    }
}

impl EventSender {
    /// Tells everyone who listens; without listeners it goes nowhere. Never blocks.
    pub fn send(&self, event: Event) {
        // No receiver is not a failure.
        let _ = self.0.send(event);
    }

    /// A listener for what happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        Events(self.0.subscribe())
    }
}

/// A listener's end. A listener that falls behind gets one [`Event::Lagged`] for what it missed.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        match self.0.try_recv() {
            Ok(event) => Some(event),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Event::Lagged { missed }),
            Err(_) => None,
        }
    }

    /// The next event; `None` when the source has gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Lagged { missed }),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
