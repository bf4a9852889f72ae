//! A look at queues: messages are taken without an ack, and given back at the end.

use std::collections::{BTreeSet, VecDeque};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use polymq_core::broker::{Browse, PeekHandle, Peeked};
use polymq_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, timeout_at};

use crate::consume::SETTLING;
use crate::convert;
use crate::error;
use crate::link::Link;
use crate::topology::PATIENCE;

/// How many messages one look shows at most: the broker keeps each of them aside meanwhile.
const SHOWN: usize = 10_000;

/// A look at one source, through an AMQP channel of its own.
///
/// RabbitMQ has no other way to show a message than to hand it out. What was shown is away from its
/// consumers until the look ends, and then counts as delivered once more. A look that is dropped rather
/// than closed gives them back in no particular order.
#[derive(Debug)]
pub(crate) struct QueueBrowse {
    channel: Channel,
    /// The queues that are still to be read, the current one first.
    queues: VecDeque<ShortString>,
    /// Routing keys are subjects.
    is_topic: bool,
    /// Delivery tags of what was shown and is still there.
    shown: BTreeSet<u64>,
    /// Tells this look's handles from another's.
    look: u32,
}

impl QueueBrowse {
    /// Starts at the beginning of the first queue.
    ///
    /// # Errors
    /// `NotFound` when one of the queues is not there; the connection's errors.
    pub(crate) async fn open(
        link: &Link,
        queues: Vec<ShortString>,
        is_topic: bool,
    ) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let channel = link.session(deadline).await?.channel(deadline).await?;
        for queue in &queues {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let asked = channel.queue_declare(queue.clone(), options, FieldTable::default());
            answer(deadline, asked).await?;
        }
        let (queues, shown, look) = (queues.into(), BTreeSet::new(), rand::random());
        Ok(Self { channel, queues, is_topic, shown, look })
    }

    fn tag(&self, handle: &PeekHandle) -> Option<u64> {
        let (look, tag) = handle.0.split_once('-')?;
        (look == self.look.to_string()).then(|| tag.parse().ok())?
    }

    async fn remove_one(&mut self, handle: &PeekHandle) -> Result<()> {
        let gone = || {
            Error::new(ErrorKind::NotFound, "this look does not hold the message")
                .with_operation("remove")
                .with_help("a message can be removed once, through the look that showed it")
        };
        let tag = self.tag(handle).filter(|tag| self.shown.remove(tag)).ok_or_else(gone)?;
        let acked = self.channel.basic_ack(tag, BasicAckOptions::default());
        answer(Instant::now() + PATIENCE, acked).await
    }
}

async fn answer<T>(deadline: Instant, call: impl Future<Output = lapin::Result<T>>) -> Result<T> {
    match timeout_at(deadline, call).await {
        Ok(answer) => answer.map_err(|e| error::native(&e)),
        Err(_) => Err(error::late("the broker did not answer in time")),
    }
}

#[async_trait]
impl Browse for QueueBrowse {
    async fn next(&mut self, max: usize) -> Result<Vec<Peeked>> {
        let deadline = Instant::now() + PATIENCE;
        let mut peeked = Vec::new();
        while peeked.len() < max
            && let Some(queue) = self.queues.front()
        {
            if self.shown.len() >= SHOWN {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("one look shows at most {SHOWN} messages"),
                )
                .with_operation("browse")
                .with_help("remove some of them, or let consumers handle them, then look again"));
            }
            let asked = self.channel.basic_get(queue.clone(), BasicGetOptions::default());
            let Some(found) = answer(deadline, asked).await? else {
                self.queues.pop_front();
                continue;
            };
            let delivery = found.delivery;
            self.shown.insert(delivery.delivery_tag);
            let subject = self.is_topic.then(|| delivery.routing_key.as_str());
            let received = convert::read(&delivery.properties, delivery.data, subject);
            let handle = PeekHandle(format!("{}-{}", self.look, delivery.delivery_tag));
            peeked.push(Peeked::new(handle, received.message));
        }
        Ok(peeked)
    }

    async fn remove(&mut self, handles: &[PeekHandle]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(handles.len());
        for handle in handles {
            results.push(self.remove_one(handle).await);
        }
        // What is said to be gone is gone even if the look is dropped now.
        sleep(SETTLING).await;
        results
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // In the order in which they lay: the end of the AMQP channel gives them back in another one.
        let back = self.shown.iter().map(|tag| {
            self.channel.basic_nack(*tag, BasicNackOptions { multiple: false, requeue: true })
        });
        answer(Instant::now() + PATIENCE, try_join_all(back)).await?;
        sleep(SETTLING).await;
        let closed = self.channel.close(200, "looked".into());
        answer(Instant::now() + PATIENCE, closed).await
    }
}
