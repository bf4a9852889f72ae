//! A made-up mail server that fails as each order says, so that every run is the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, future};

use crate::orders::{Mailbox, OrderPlaced};

/// How long the server takes to accept a mail.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// The client of the mail server, which remembers how often it tried each order.
#[derive(Debug, Default)]
pub(crate) struct Smtp {
    attempts: Mutex<HashMap<String, u32>>,
}

impl Smtp {
    /// Sends the receipt of an order to its address.
    pub(crate) async fn send(&self, order: &OrderPlaced) -> Result<(), Refused> {
        let attempt = self.count(&order.order);
        tokio::time::sleep(ROUND_TRIP).await;
        match order.mailbox {
            Mailbox::Busy(times) if attempt <= times => Err(Refused("450 mailbox busy")),
            Mailbox::Gone => Err(Refused("451 mailbox gone, perhaps back later")),
            Mailbox::Stalls if attempt == 1 => future::pending().await,
            Mailbox::Crashes => crash(&order.order),
            Mailbox::Open | Mailbox::Busy(_) | Mailbox::Stalls => Ok(()),
        }
    }

    /// The number of this attempt, from 1.
    fn count(&self, order: &str) -> u32 {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(order.to_owned()).or_default();
        *attempt += 1;
        *attempt
    }
}

#[allow(clippy::panic, reason = "a bug in a dependency: one message's attempt fails, no more")]
fn crash(order: &str) -> ! {
    panic!("order {order} crashes the mail client, on purpose");
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the mail server refused: {}", self.0)
    }
}

impl std::error::Error for Refused {}
