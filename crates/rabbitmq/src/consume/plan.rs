use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use polymq_core::broker::Subscription;
use polymq_core::{Error, Origin};
use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};

use super::attachment::Attachment;
use super::sources::Sources;
use crate::error;
use crate::layout::GroupLayout;
use crate::link::Session;

/// However small its share, this much of the prefetch is asked of a source, if the prefetch allows: a
/// round trip to the broker for each message would be slow.
const LEAST_SHARE: usize = 16;

/// Added to the longest hold before the broker takes a delivery away: what it takes to notice.
const HOLD_MARGIN: Duration = Duration::from_secs(60);

/// What a consumer asks of the broker whenever it attaches.
///
/// The main queue may have the whole prefetch unsettled and the retry inbox a part of it; what is
/// handed out is counted for both together. On an ordered channel the prefetch is spread over the
/// partitions.
///
/// A partition is a queue with a single active consumer, and the broker makes it the one of the highest
/// priority, once the one before has settled what it holds. Nothing else spreads partitions over
/// processes, so each process asks for them in an order that it draws once. As it has one first choice,
/// one second and so on, the spread is much evener than with priorities that are drawn one by one.
#[derive(Debug)]
pub(crate) struct Plan {
    sources: Vec<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    queue: ShortString,
    tag: ShortString,
    origin: Origin,
    prefetch: u16,
    arguments: FieldTable,
}

/// Why there is no attachment.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// The queue that is not there.
    pub(crate) missing: Option<ShortString>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, missing: None }
    }
}

impl Plan {
    pub(crate) fn new(group: &GroupLayout, ordered: bool, subscription: &Subscription) -> Self {
        let (prefetch, name) = (subscription.prefetch, &subscription.consumer);
        let share = |part: usize| {
            let share = part.max(LEAST_SHARE).min(prefetch).max(1);
            u16::try_from(share).unwrap_or(u16::MAX)
        };
        let timeout = hold_timeout(subscription.max_hold);
        let mut sources = Vec::with_capacity(group.queues.len() + 1);
        if ordered {
            let prefetch = share(prefetch.div_ceil(group.queues.len().max(1)));
            for (n, (queue, priority)) in group.queues.iter().zip(ranks(group)).enumerate() {
                let mut arguments = timeout.clone();
                arguments.insert("x-priority".into(), AMQPValue::LongInt(priority));
                let (queue, tag) = (queue.clone(), format!("{name}.{n}").into());
                let origin = Origin::Channel;
                sources.push(Wanted { queue, tag, origin, prefetch, arguments });
            }
        } else {
            sources.extend(group.queues.iter().map(|queue| Wanted {
                queue: queue.clone(),
                tag: name.as_str().into(),
                origin: Origin::Channel,
                prefetch: share(prefetch),
                arguments: timeout.clone(),
            }));
        }
        sources.push(Wanted {
            queue: group.inbox.clone(),
            tag: format!("{name}.retry").into(),
            origin: Origin::RetryInbox,
            prefetch: share(prefetch / 4),
            arguments: timeout,
        });
        Self { sources }
    }

    /// Consumes everything on a new AMQP channel, by `deadline`.
    pub(crate) async fn attach(
        &self,
        session: &Session,
        deadline: Instant,
    ) -> Result<(Attachment, Sources), Refusal> {
        // Declared first, so that they are dropped last: see `Attachment`.
        let mut sources = Sources::default();
        let attachment = Attachment::open(session, deadline).await?;
        let mut prefetch = None;
        for wanted in &self.sources {
            // The count holds for the consumers that come after it.
            let count = (prefetch != Some(wanted.prefetch)).then_some(wanted.prefetch);
            prefetch = Some(wanted.prefetch);
            let consuming = wanted.consume(&attachment, count);
            let consumed = timeout_at(deadline, consuming).await.map_err(|_| {
                error::late("the broker did not let the consumer attach in time")
                    .with_context("queue", &wanted.queue)
            })?;
            let stream = consumed.map_err(|e| Refusal {
                error: error::native(&e).with_context("queue", &wanted.queue),
                missing: error::is_not_found(&e).then(|| wanted.queue.clone()),
            })?;
            sources.push(stream, wanted.origin);
        }
        Ok((attachment, sources))
    }
}

impl Wanted {
    async fn consume(
        &self,
        attachment: &Attachment,
        prefetch: Option<u16>,
    ) -> lapin::Result<lapin::Consumer> {
        let channel = &attachment.channel;
        if let Some(prefetch) = prefetch {
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        }
        let options = BasicConsumeOptions::default();
        let (queue, tag) = (self.queue.clone(), self.tag.clone());
        channel.basic_consume(queue, tag, options, self.arguments.clone()).await
    }
}

/// A rank for each partition, each rank once, in an order of this consumer's own. The low bits make it
/// unlikely that two consumers ask for a partition with the same priority.
fn ranks(group: &GroupLayout) -> Vec<i32> {
    let mut random = rand::rng();
    let mut ranks: Vec<usize> = (0..group.queues.len()).collect();
    ranks.shuffle(&mut random);
    let noisy = |rank: usize| {
        i32::try_from(rank << 16).unwrap_or(i32::MAX) | random.random_range(0..1 << 16)
    };
    ranks.into_iter().map(noisy).collect()
}

/// How long a delivery may stay unsettled before the broker takes it away: buffered here as long as
/// those before it may be held, and held then. RabbitMQ from 4.3 on reads it from the consumer; older
/// ones have a setting of the queue's or their own.
fn hold_timeout(max_hold: Duration) -> FieldTable {
    let timeout = max_hold.saturating_mul(2).saturating_add(HOLD_MARGIN);
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut arguments = FieldTable::default();
    arguments.insert("x-consumer-timeout".into(), AMQPValue::LongInt(millis));
    arguments
}
