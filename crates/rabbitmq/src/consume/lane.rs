use std::sync::Arc;
use std::time::Duration;

use polymq_core::Result;
use polymq_core::broker::Token;
use tokio::time::{Instant, sleep_until};

use super::attachment::Attachment;
use crate::settle::Watermark;

/// How long settlements may take to reach a quorum queue. Its broker-side client holds back what is above
/// 32 commands in flight, tells nobody, and drops it when the AMQP channel closes: those messages would
/// come again.
pub(crate) const SETTLING: Duration = Duration::from_millis(100);

/// One AMQP channel of a consumer, from its opening to its end, and what is unsettled on it.
///
/// A consumer without order has one, for all its sources. An ordered one has one for its retry inbox and
/// one for each partition that it holds, so that a partition can be given back by itself.
#[derive(Debug)]
pub(crate) struct Lane {
    /// Unique within the consumer; a later lane has a higher one.
    pub(crate) number: u32,
    /// The partition that it is for; `None` for what the consumer is attached to at any time.
    pub(crate) partition: Option<usize>,
    pub(crate) attachment: Arc<Attachment>,
    pub(crate) watermark: Watermark,
    /// Tags whose settlement was issued and whose caller never learned that it was written.
    pub(crate) unwritten: Vec<u64>,
    /// When frames were last issued.
    pub(crate) issued: Option<Instant>,
    /// Why it is of no use any more.
    pub(super) lost: Option<String>,
    /// Nothing is handed out any more, and it ends when nothing is in hand, at this moment at the latest.
    pub(super) stopping: Option<Instant>,
}

impl Lane {
    pub(super) fn new(number: u32, partition: Option<usize>, attachment: Attachment) -> Self {
        Self {
            number,
            partition,
            attachment: Arc::new(attachment),
            watermark: Watermark::default(),
            unwritten: Vec::new(),
            issued: None,
            lost: None,
            stopping: None,
        }
    }

    /// Deliveries may be handed out.
    pub(crate) fn is_open(&self) -> bool {
        self.stopping.is_none() && self.lost.is_none()
    }

    /// Hands out nothing any more, and ends by `latest`, unless it was to end before.
    pub(crate) fn stop(&mut self, latest: Instant) {
        self.stopping.get_or_insert(latest);
    }

    /// When it ends, as it looks now: a lane that was lost at once, one that is stopping with the last
    /// settlement. Whoever drains pauses first, and finishes what is in hand.
    pub(super) fn ends_at(&self, now: Instant, is_paused: bool) -> Option<Instant> {
        if self.lost.is_some() {
            return Some(now);
        }
        let latest = self.stopping?;
        match self.watermark.in_hand() {
            0 => Some(self.issued.map_or(now, |issued| issued + SETTLING)),
            _ => Some(latest).filter(|_| !is_paused),
        }
    }

    /// What is left when it is taken out of use: what it had in hand is stale.
    pub(super) fn give_up(self, tokens: Tokens) -> GivenUp {
        let token = |slot| tokens.token(self.number, slot);
        GivenUp {
            partition: self.partition,
            tokens: self.watermark.tags_in_hand().map(token).collect(),
            reason: self.lost,
            attachment: self.attachment,
            issued: self.issued,
        }
    }
}

/// A lane that was taken out of use.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) partition: Option<usize>,
    /// Those that were in hand.
    pub(crate) tokens: Vec<Token>,
    /// Why the broker ended it, if it did.
    pub(crate) reason: Option<String>,
    attachment: Arc<Attachment>,
    issued: Option<Instant>,
}

impl GivenUp {
    /// Closes the AMQP channel, after what was settled on it has taken effect, by `deadline`.
    ///
    /// # Errors
    /// `Timeout`.
    pub(crate) async fn close(&self, deadline: Instant) -> Result<()> {
        if let Some(issued) = self.issued {
            sleep_until(deadline.min(issued + SETTLING)).await;
        }
        self.attachment.close(deadline).await
    }
}

/// Makes the tokens of one consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    /// The consumer's number.
    pub(crate) consumer: u32,
    /// Lanes come and go by themselves: a later one says nothing about the others.
    pub(crate) ordered: bool,
}

impl Tokens {
    /// The token of a delivery tag.
    pub(crate) fn token(self, lane: u32, slot: u64) -> Token {
        let epoch = if self.ordered { 0 } else { lane };
        Token { consumer: self.consumer, epoch, slot, generation: lane }
    }
}
