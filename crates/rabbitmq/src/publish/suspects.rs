//! Exchanges that cost the pump its AMQP channel.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::types::ShortString;
use tokio::time::Instant;

/// How long an exchange is a suspect.
const SUSPECTED: Duration = Duration::from_secs(30);

/// Exchanges that the broker has refused lately: missing, or not ours to write to.
///
/// A refusal ends the AMQP channel with everything in flight on it, and lapin then writes what it still
/// has queued for that channel, over which the broker ends the connection. So messages to a suspect go
/// through the lanes, where none has a neighbour, until one is taken.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashMap<ShortString, Instant>>);

impl Suspects {
    /// The broker has refused this exchange.
    pub(super) fn add(&self, exchange: &ShortString) {
        self.lock().insert(exchange.clone(), Instant::now() + SUSPECTED);
    }

    /// The broker has taken a message to this exchange.
    pub(super) fn clear(&self, exchange: &ShortString) {
        self.lock().remove(exchange);
    }

    pub(super) fn contains(&self, exchange: &ShortString) -> bool {
        self.lock().get(exchange).is_some_and(|until| Instant::now() < *until)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ShortString, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_exchange_is_a_suspect_for_a_while_or_until_it_takes_a_message() {
        let suspects = Suspects::default();
        let (one, other) = ("one".into(), "other".into());
        suspects.add(&one);
        suspects.add(&other);
        suspects.clear(&other);
        assert!(suspects.contains(&one) && !suspects.contains(&other));
        tokio::time::advance(SUSPECTED).await;
        assert!(!suspects.contains(&one));
    }
}
