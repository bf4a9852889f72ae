use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::breaker::{Breaker, Change};
use super::claims::Claims;
use super::dispatch::Handlers;
use super::finish::Finishing;
use super::hand::Hand;
use super::tally::Counters;
use crate::broker::{BrokerInfo, Consumer, Limits, Settlement, Token};
use crate::clock::Clock;
use crate::config::ConsumerConfig;
use crate::dedup::{DedupStore, Held};
use crate::guard::answer;
use crate::model::{ChannelName, Message};
use crate::observe::metrics::ConsumerMetrics;
use crate::publish::Pump;
use crate::service::{Hooks, Identity};

/// Where hops go: the group's retry inbox, and its dead-letter channel.
pub(super) struct Hops {
    /// Of the consumer's own broker.
    pub(super) pump: Arc<Pump>,
    pub(super) limits: Limits,
    /// Of the dead-letter channel's broker.
    pub(super) dead_letter_pump: Arc<Pump>,
    pub(super) dead_letter_limits: Limits,
    pub(super) dead_letter: ChannelName,
}

/// Deduplication of one consumer.
pub(super) struct Dedup {
    pub(super) store: Arc<dyn DedupStore>,
    pub(super) claims: Arc<Claims>,
    pub(super) identity: Option<Identity>,
}

/// What the tasks of one pipeline share.
pub(super) struct Shared {
    pub(super) config: ConsumerConfig,
    pub(super) ordered: bool,
    /// Whether sends and acks go to the broker as one.
    pub(super) atomic: bool,
    pub(super) info: BrokerInfo,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) handlers: Handlers,
    pub(super) hops: Hops,
    pub(super) dedup: Option<Dedup>,
    pub(super) breaker: Option<Mutex<Breaker>>,
    pub(super) hand: Hand,
    pub(super) finishing: Finishing,
    pub(super) pauses: Mutex<Pauses>,
    pub(super) counters: Counters,
    pub(super) metrics: ConsumerMetrics,
    pub(super) hooks: Hooks,
    pub(super) clock: Arc<dyn Clock>,
}

/// Who wants intake paused.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pauses {
    pub(super) by_user: bool,
    pub(super) by_breaker: bool,
}

impl Shared {
    /// Whether a hop fits the consumer's own broker.
    pub(super) fn hop_fits(&self, message: &Message) -> bool {
        fits(&self.hops.pump, &self.hops.limits, message)
    }

    /// Whether a dead letter fits its broker.
    pub(super) fn dead_letter_fits(&self, message: &Message) -> bool {
        fits(&self.hops.dead_letter_pump, &self.hops.dead_letter_limits, message)
    }

    pub(super) fn breaker(&self) -> Option<MutexGuard<'_, Breaker>> {
        Some(self.breaker.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the breaker how an attempt ended, and follows.
    pub(super) fn record(&self, probe: bool, failed: Option<bool>) {
        let now = self.clock.instant();
        let change = self.breaker().and_then(|mut b| b.record(now, probe, failed));
        if let Some(change) = change {
            self.breaker_changed(change);
        }
    }

    pub(super) fn breaker_changed(&self, change: Change) {
        match change {
            Change::Tripped => {
                tracing::warn!(consumer = %self.config.name, "the breaker opened: intake pauses");
                self.metrics.breaker_open.set(1.0);
            }
            Change::HalfOpened => {}
            Change::Closed => {
                tracing::info!(consumer = %self.config.name, "the breaker closed: intake goes on");
                self.metrics.breaker_open.set(0.0);
            }
        }
        self.follow_breaker();
        match change {
            // Whoever keeps the timers must learn when it ends.
            Change::Tripped => self.hand.timer_set.notify_one(),
            // Half-open, the first to come as far as the breaker is the probe, and the others are
            // held again: any one of them may end before it, being expired or no longer ours.
            Change::HalfOpened | Change::Closed => {
                self.hand.unbar(usize::MAX);
            }
        }
    }

    /// Intake goes on unless the breaker holds what would come. It asks for the state of now, as
    /// changes may be followed out of order.
    pub(super) fn follow_breaker(&self) {
        self.pause(|p| p.by_breaker = self.breaker().is_some_and(|b| b.is_holding()));
    }

    pub(super) fn show_in_hand(&self) {
        let counts = self.hand.counts();
        self.metrics.in_hand.set((counts.waiting + counts.running + counts.settling) as f64);
    }

    pub(super) fn pause(&self, change: impl FnOnce(&mut Pauses)) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *pauses != Pauses::default();
        change(&mut pauses);
        match (before, *pauses != Pauses::default()) {
            (false, true) => self.consumer.pause(),
            (true, false) => self.consumer.resume(),
            _ => {}
        }
    }

    pub(super) fn is_paused(&self) -> Pauses {
        *self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives deliveries back, and their claims.
    pub(super) async fn release(&self, dropped: Vec<(Token, Option<Held>)>) {
        let (tokens, held): (Vec<_>, Vec<_>) = dropped.into_iter().unzip();
        self.release_claims(held.into_iter().flatten().collect()).await;
        self.release_tokens(&tokens).await;
    }

    pub(super) async fn release_tokens(&self, tokens: &[Token]) {
        if tokens.is_empty() {
            return;
        }
        super::tally::add(&self.counters.released, tokens.len() as u64);
        let settlements: Vec<_> = tokens.iter().map(|t| (*t, Settlement::Release)).collect();
        let deadline = self.clock.instant() + super::SETTLE_TIMEOUT;
        let releasing = self.consumer.settle(&settlements, deadline);
        let results = answer("settle", deadline, releasing).await.unwrap_or_default();
        for error in results.into_iter().filter_map(Result::err) {
            tracing::warn!(consumer = %self.config.name, %error, "a release failed; the broker will redeliver");
        }
    }

    pub(super) async fn release_claims(&self, held: Vec<Held>) {
        let Some(dedup) = self.dedup.as_ref().filter(|_| !held.is_empty()) else { return };
        if let Err(error) = dedup.store.release(&held).await {
            tracing::warn!(consumer = %self.config.name, %error, "claims were not released: they run out by themselves");
        }
    }
}

fn fits(pump: &Pump, limits: &Limits, message: &Message) -> bool {
    pump.broker().wire_size(message) <= limits.max_message_bytes
        && message.headers().size() <= limits.max_header_bytes
        && message.headers().len() <= limits.max_headers
}
