//! What goes on beside the handlers: intake and events, timers, leases.

use std::sync::Arc;
use std::time::Duration;

use super::hand::Offered;
use super::shared::Shared;
use super::tally::add;
use crate::ErrorKind;
use crate::broker::Event;
use crate::clock::FAR;
use crate::guard::answer;
use crate::model::{Delivery, Origin};

/// How long to wait after `recv` failed: at first and at most.
const RECV_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl Shared {
    /// Takes deliveries in, until the consumer is closed, and follows what happens to it: in one
    /// task, because a lost lease must be known before the message comes again.
    pub(super) async fn run_intake(self: Arc<Self>) {
        let mut events = self.consumer.events();
        let mut listening = true;
        let mut backoff = RECV_BACKOFF.0;
        loop {
            let received = tokio::select! {
                biased;
                event = events.recv(), if listening => {
                    match event {
                        Some(event) => self.follow_event(event).await,
                        None => listening = false,
                    }
                    continue;
                }
                received = self.consumer.recv(self.config.prefetch) => received,
            };
            while let Some(event) = events.try_recv() {
                self.follow_event(event).await;
            }
            match received {
                Ok(deliveries) => {
                    backoff = RECV_BACKOFF.0;
                    self.take_in(deliveries).await;
                }
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    tracing::error!(consumer = %self.config.name, %error, "receiving failed; trying again");
                    self.clock.sleep_until(self.clock.instant() + backoff).await;
                    backoff = (backoff * 2).min(RECV_BACKOFF.1);
                }
            }
        }
    }

    async fn take_in(&self, deliveries: Vec<Delivery>) {
        let retries = deliveries.iter().filter(|d| d.origin == Origin::RetryInbox).count() as u64;
        let count = deliveries.len() as u64;
        let span = tracing::debug_span!(
            target: "polymq::receive",
            "receive",
            messaging.operation.name = "receive",
            messaging.destination.name = %self.config.channel,
            messaging.consumer.group.name = %self.config.group,
            messaging.batch.message_count = count,
        );
        self.metrics.consumed.increment(count);
        add(&self.counters.received, count - retries);
        add(&self.counters.received_retries, retries);
        let mut refused = Vec::new();
        let orphaned = span.in_scope(|| {
            self.hand.take_in(deliveries, self.clock.instant(), |offered, token| {
                if offered == Offered::Refused {
                    refused.push((token, None));
                }
            })
        });
        self.show_in_hand();
        self.release_claims(orphaned).await;
        self.release(refused).await;
    }

    async fn follow_event(&self, event: Event) {
        match event {
            Event::LeaseLost { tokens } => self.lose(&tokens).await,
            Event::Revoked { tokens, partitions, .. } => {
                tracing::info!(consumer = %self.config.name, ?partitions, "revoked");
                let dropped = self.hand.revoke(&tokens);
                self.release(dropped).await;
            }
            event => tracing::info!(consumer = %self.config.name, ?event, "consumer event"),
        }
    }

    /// Wakes what is parked, and the breaker.
    pub(super) async fn run_timers(self: Arc<Self>) {
        loop {
            let breaker = self.breaker().and_then(|b| b.next_change());
            let next = [self.hand.next_timer(), breaker].into_iter().flatten().min();
            let next = next.unwrap_or_else(|| self.clock.instant() + FAR);
            tokio::select! {
                () = self.hand.timer_set.notified() => {}
                () = self.clock.sleep_until(next) => {}
            }
            let now = self.clock.instant();
            self.hand.wake_due(now);
            let change = self.breaker().and_then(|mut b| b.tick(now));
            if let Some(change) = change {
                self.breaker_changed(change);
            }
        }
    }

    /// Renews the leases of everything in hand, up to `max_lease`. It runs on a task of its own, so
    /// that a handler which never yields does not stop it.
    pub(super) async fn run_leases(self: Arc<Self>) {
        let dedup = self.config.dedup.as_ref().map(|d| d.lease);
        let shortest = [self.hops.limits.lease, dedup].into_iter().flatten().min();
        let every = shortest.unwrap_or(Duration::from_secs(30)) / 3;
        loop {
            self.clock.sleep_until(self.clock.instant() + every).await;
            let leases = self.hand.leases(self.clock.instant(), self.config.max_lease);
            for id in &leases.stuck {
                self.metrics.stuck.increment(1);
                tracing::error!(
                    consumer = %self.config.name,
                    messaging.message.id = id.as_ref().map(tracing::field::display),
                    max_lease = %humantime::format_duration(self.config.max_lease),
                    "stuck: in hand for longer than max_lease; its lease is no longer extended"
                );
            }
            let deadline = self.clock.instant() + every;
            if self.hops.limits.lease.is_some() && !leases.tokens.is_empty() {
                let extending = self.consumer.extend(&leases.tokens, deadline);
                let results = answer("extend", deadline, extending).await.unwrap_or_default();
                let lost: Vec<_> = leases
                    .tokens
                    .iter()
                    .zip(results)
                    .filter_map(|(token, result)| match result {
                        Err(error) if error.kind() == ErrorKind::StaleToken => Some(*token),
                        Err(error) => {
                            tracing::warn!(consumer = %self.config.name, %error, "a lease was not extended");
                            None
                        }
                        Ok(()) => None,
                    })
                    .collect();
                self.lose(&lost).await;
            }
            // A store that hangs must not keep the next leases from being extended.
            let renewed = self.renew_claims(leases.held);
            if tokio::time::timeout_at(deadline, renewed).await.is_err() {
                tracing::warn!(consumer = %self.config.name, "claims were not renewed in time");
            }
        }
    }

    async fn renew_claims(&self, held: Vec<crate::dedup::Held>) {
        let (Some(dedup), Some(config)) = (&self.dedup, &self.config.dedup) else { return };
        if held.is_empty() {
            return;
        }
        // Whether a claim still holds is asked again before anything depends on it.
        if let Err(error) = dedup.store.renew(&held, config.lease).await {
            self.metrics.dedup_failures.increment(1);
            tracing::warn!(consumer = %self.config.name, %error, "claims were not renewed");
        }
    }

    async fn lose(&self, tokens: &[crate::broker::Token]) {
        if tokens.is_empty() {
            return;
        }
        let orphaned = self.hand.lose(tokens);
        self.release_claims(orphaned).await;
    }
}
