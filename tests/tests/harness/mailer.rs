//! A service to be tested.

use std::sync::atomic::{AtomicU32, Ordering};

use polymq_core::{Context, HandlerError, Payload, ResultExt, Service};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order: String,
    pub(crate) email: String,
}

impl Payload for OrderPlaced {
    const TYPE: &'static str = "order.placed";
    fn key(&self) -> Option<&[u8]> {
        Some(self.order.as_bytes())
    }
}

impl OrderPlaced {
    pub(crate) fn sample(order: &str) -> Self {
        Self { order: order.to_owned(), email: "someone@example.org".to_owned() }
    }

    pub(crate) fn without_email(order: &str) -> Self {
        Self { email: String::new(), ..Self::sample(order) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptSent {
    pub(crate) order: String,
}

impl Payload for ReceiptSent {
    const TYPE: &'static str = "receipt.sent";
}

/// A mail server that bounces the first mails.
pub(crate) struct Smtp(AtomicU32);

impl Smtp {
    pub(crate) fn working() -> Self {
        Self::failing(0)
    }

    pub(crate) fn failing(times: u32) -> Self {
        Self(AtomicU32::new(times))
    }

    async fn send(&self, _to: &str) -> Result<(), std::io::Error> {
        let bounce = |left: u32| left.checked_sub(1);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, bounce) {
            Ok(_) => Err(std::io::Error::other("bounced")),
            Err(_) => Ok(()),
        }
    }
}

async fn send_receipt(o: OrderPlaced, ctx: Context<Smtp>) -> Result<(), HandlerError> {
    if o.email.is_empty() {
        Err("no address").permanent()?;
    }
    ctx.state().send(&o.email).await?;
    ctx.publish("receipts", ReceiptSent { order: o.order })
}

pub(crate) fn service(smtp: Smtp) -> Service<Smtp> {
    Service::new(smtp).on("mailer", send_receipt)
}
