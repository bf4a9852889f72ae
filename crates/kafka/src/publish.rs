//! Sending: one idempotent producer for all calls, reports are pipelined, and nothing that is owed is
//! forgotten.
//!
//! A call hands its messages to librdkafka in order, while it holds the *turnstile*, a first-come lock that
//! it joins when it is first polled. So the order per key holds across calls, also when a call is larger than
//! the window. What librdkafka has not reported yet is in the *ledger*, which bounds it by number and by
//! bytes. The *keeper* is a thread that serves the reports. When the producer has failed for good, or the
//! password has changed, it makes another one and sends everything in the ledger again, in its first order and
//! under the same ids, unless its call is over.
//!
//! While no broker can be reached only what is with librdkafka already waits there; the rest waits at the
//! turnstile, where it is certain at the deadline that it was never sent.

mod call;
mod keeper;
mod ledger;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polymq_core::broker::{Destination, EventSender, Outcome, Send};
use polymq_core::{Clock, Error, Result};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer as _;
use tokio::time::{Instant, timeout, timeout_at};

use self::call::Call;
use self::keeper::Keeper;
use self::ledger::Ledger;
use self::record::Records;
use self::session::Producer;
use crate::context::Watch;
use crate::error;
use crate::layout::Layout;
use crate::target::Target;

/// The most messages that are handed over between two looks at the window.
const PIECE: usize = 128;

/// How long a call that finds no room waits at most before it looks again.
const PATIENCE: Duration = Duration::from_millis(100);

/// Takes calls.
const OPEN: u8 = 0;
/// Carries the calls that it has.
const CLOSING: u8 = 1;
/// Carries nothing any more.
const CLOSED: u8 = 2;

/// The sending half of a broker. Dropping it is a crash: what has no report yet is stored or not.
#[derive(Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    turnstile: tokio::sync::Mutex<()>,
}

/// What calls and the keeper share.
struct Shared {
    target: Arc<Target>,
    records: Records,
    ledger: Arc<Ledger>,
    watch: Arc<Watch>,
    /// Nobody hands anything over while there is none.
    producer: Mutex<Option<Arc<Producer>>>,
    phase: AtomicU8,
}

impl Publisher {
    /// Makes the producer, which connects by itself, and starts the keeper.
    ///
    /// # Errors
    /// `Config` when librdkafka takes the configuration for impossible, or the password's file cannot be read.
    pub(crate) fn new(
        target: Arc<Target>,
        layout: Arc<Layout>,
        clock: Arc<dyn Clock>,
        events: EventSender,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            records: Records::new(layout, clock, target.table()),
            ledger: Arc::new(Ledger::new(target.table().publish_window, target.broker())),
            watch: Arc::new(Watch::new(target.broker(), events)),
            target,
            producer: Mutex::default(),
            phase: AtomicU8::new(OPEN),
        });
        Keeper::start(&shared)?;
        Ok(Self { shared, turnstile: tokio::sync::Mutex::default() })
    }

    /// As [`Broker::publish`](polymq_core::broker::Broker::publish).
    pub(crate) async fn publish(&self, sends: Vec<Send>, deadline: Instant) -> Vec<Outcome> {
        let call = Arc::new(Call::new(sends, deadline));
        if self.shared.phase() == OPEN {
            let carried = async {
                if self.hand_over(&call).await {
                    call.finished().await;
                }
            };
            // At the deadline, or when the broker was closed meanwhile, the call says what is known.
            let _ = timeout_at(deadline, carried).await;
        }
        let broker = self.shared.target.broker();
        call.end(|send| describe(self.shared.why_late(), broker, &send.destination))
    }

    /// Gives all messages of a call to librdkafka, in order and after those of earlier calls. `false`: the
    /// call is over before that.
    async fn hand_over(&self, call: &Arc<Call>) -> bool {
        let _turn = self.turnstile.lock().await;
        let mut handed = 0;
        let mut keys = Vec::with_capacity(PIECE.min(call.sends.len()));
        while handed < call.sends.len() {
            if call.is_over() || self.shared.phase() == CLOSED {
                return false;
            }
            match self.shared.hand(call, handed, &mut keys) {
                0 => drop(timeout(PATIENCE, self.shared.ledger.room()).await),
                more => handed += more,
            }
        }
        true
    }

    /// Takes no more, and waits until everything that was taken has its outcome.
    ///
    /// # Errors
    /// `Timeout` when something was left at the deadline: it is unconfirmed.
    pub(crate) async fn close(&self, deadline: Instant) -> Result<()> {
        let _ =
            self.shared.phase.compare_exchange(OPEN, CLOSING, Ordering::AcqRel, Ordering::Acquire);
        let flushed = async {
            // Earlier calls are before this one at the turnstile.
            drop(self.turnstile.lock().await);
            self.shared.ledger.empty().await;
        };
        let flushed = timeout_at(deadline, flushed).await;
        self.shared.end();
        flushed.map_err(|_| {
            let error = error::late("the broker was closed before everything was confirmed");
            error.with_operation("close").with_broker(self.shared.target.broker())
        })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Shared {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    fn producer(&self) -> MutexGuard<'_, Option<Arc<Producer>>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the messages of a call from `first` on to librdkafka, as many as there is room for: their number.
    fn hand(&self, call: &Arc<Call>, first: usize, keys: &mut Vec<usize>) -> usize {
        let producer = self.producer();
        let Some(producer) = &*producer else { return 0 };
        self.ledger.enter(call, first, self.watch.is_down(), keys);
        call.hand(first + keys.len());
        for (nth, key) in keys.iter().enumerate() {
            if !self.send(producer, call, first + nth, *key) {
                call.hand(first + nth);
                keys[nth..].iter().for_each(|key| drop(self.ledger.leave(*key)));
                return nth;
            }
        }
        keys.len()
    }

    /// Gives one message to librdkafka, or settles it. `false`: it is to be tried again.
    fn send(&self, producer: &Producer, call: &Call, index: usize, key: usize) -> bool {
        let route = match self.records.route(call, index) {
            Ok(route) => route,
            Err(error) => {
                self.ledger.settle(key, Outcome::Rejected(error));
                return true;
            }
        };
        let Err((error, _)) = producer.send(self.records.record(call, index, &route, key)) else {
            return true;
        };
        if error::code(&error) == Some(Code::QueueFull) {
            return false;
        }
        if verdict::is_end_of_producer(&error) {
            producer.context().broken();
            return false;
        }
        self.ledger.settle(key, Outcome::Rejected(error::native(&error)));
        true
    }

    /// Ends everything: what is owed stays unconfirmed.
    fn end(&self) {
        self.phase.store(CLOSED, Ordering::Release);
        // Without one nothing is handed over any more.
        self.producer().take();
        for (key, _) in self.ledger.doubt() {
            self.ledger.settle(key, Outcome::Unconfirmed(error::closed("broker")));
        }
        self.ledger.look();
    }

    /// Why a send has no outcome at its deadline.
    fn why_late(&self) -> Error {
        if self.phase() != OPEN {
            return error::closed("broker");
        }
        if self.watch.is_down() {
            return error::away(self.watch.reason());
        }
        let is_broken = self.producer().as_ref().is_none_or(|p| p.context().is_broken());
        let reason = self.watch.reason().filter(|_| is_broken);
        reason.unwrap_or_else(error::unconfirmed)
    }
}

fn describe(error: Error, broker: &str, destination: &Destination) -> Error {
    let error = error.with_operation("publish").with_broker(broker);
    match destination.channel() {
        Some(channel) => error.with_channel(channel),
        None => error,
    }
}
