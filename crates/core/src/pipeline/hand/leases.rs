//! Everything in hand at once: what is to be extended, and what is left at the end.

use std::time::Duration;

use tokio::time::Instant;

use super::Hand;
use super::table::{Phase, Table};
use crate::broker::Token;
use crate::dedup::Held;
use crate::model::MessageId;

impl Hand {
    /// Takes out everything that is left, whatever it is doing.
    pub(in crate::pipeline) fn abandon(&self) -> Vec<Abandoned> {
        let mut table = self.lock();
        let entries = std::mem::take(&mut table.entries);
        *table = Table { closing: true, ..Table::default() };
        entries
            .into_iter()
            .map(|(_, entry)| Abandoned {
                token: (!entry.lost && !entry.acked).then_some(entry.token),
                id: entry.identity.id,
                held: entry.held,
                running: entry.phase == Phase::Running,
                acked: entry.acked,
            })
            .collect()
    }

    /// Everything whose lease is to be renewed, and, once each, what has been in hand for longer
    /// than `max_lease`.
    pub(in crate::pipeline) fn leases(&self, now: Instant, max_lease: Duration) -> Leases {
        let mut leases = Leases::default();
        for (_, entry) in &mut self.lock().entries {
            if now.saturating_duration_since(entry.since) >= max_lease {
                if !std::mem::replace(&mut entry.stuck, true) {
                    leases.stuck.push(entry.identity.id.clone());
                }
                continue;
            }
            if !entry.lost && !entry.acked {
                leases.tokens.push(entry.token);
            }
            leases.held.extend(entry.held.clone());
        }
        leases
    }
}

/// What is to be extended.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Leases {
    pub(in crate::pipeline) tokens: Vec<Token>,
    pub(in crate::pipeline) held: Vec<Held>,
    pub(in crate::pipeline) stuck: Vec<Option<MessageId>>,
}

/// Something that was still in hand at the end.
#[derive(Debug)]
pub(in crate::pipeline) struct Abandoned {
    pub(in crate::pipeline) token: Option<Token>,
    pub(in crate::pipeline) id: Option<MessageId>,
    pub(in crate::pipeline) held: Option<Held>,
    /// It was with its handler.
    pub(in crate::pipeline) running: bool,
    /// It was acked before it was handled.
    pub(in crate::pipeline) acked: bool,
}
