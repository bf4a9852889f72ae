use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use polymq_core::broker::Subscription;
use polymq_core::{Error, Origin};
use tokio::time::{Instant, timeout_at};

use super::attachment::Attachment;
use crate::error;
use crate::layout::GroupLayout;
use crate::link::Session;

/// However small its share, this much of the prefetch is asked of a source, if the prefetch allows: a
/// round trip to the broker for each message would be slow.
const LEAST_SHARE: usize = 16;

/// Added to the longest hold before the broker takes a delivery away: what it takes to notice.
const HOLD_MARGIN: Duration = Duration::from_secs(60);

/// What a consumer asks of the broker.
///
/// A main queue may have the whole prefetch unsettled and the retry inbox a part of it; what is handed
/// out is counted for all together. On an ordered channel the prefetch is spread over the partitions.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For as long as the consumer lives.
    pub(crate) base: Vec<Wanted>,
    /// One consumer of the group at a time.
    pub(crate) partitions: Vec<Wanted>,
}

/// A queue, and how to consume it.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) queue: ShortString,
    tag: ShortString,
    origin: Origin,
    prefetch: u16,
    arguments: FieldTable,
}

/// What is consumed on one AMQP channel. Dropped in this order: see [`Attachment`].
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) attachment: Attachment,
    pub(crate) streams: Vec<(Origin, lapin::Consumer)>,
}

/// Why the broker lets nobody attach.
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

impl Refusal {
    /// What the broker said about a queue.
    pub(crate) fn of(queue: &ShortString, error: &lapin::Error) -> Self {
        Self {
            error: error::native(error).with_context("queue", queue),
            missing: error::is_not_found(error).then(|| queue.clone()),
        }
    }
}

impl Plan {
    pub(crate) fn new(group: &GroupLayout, ordered: bool, subscription: &Subscription) -> Self {
        let (prefetch, name) = (subscription.prefetch, &subscription.consumer);
        let arguments = hold_timeout(subscription.max_hold);
        let wanted = |queue: &ShortString, tag: String, origin, part: usize| {
            let share = part.max(LEAST_SHARE).min(prefetch).max(1);
            Wanted {
                queue: queue.clone(),
                tag: tag.into(),
                origin,
                prefetch: u16::try_from(share).unwrap_or(u16::MAX),
                arguments: arguments.clone(),
            }
        };
        let part = match ordered {
            true => prefetch.div_ceil(group.queues.len().max(1)),
            false => prefetch,
        };
        let queues = group.queues.iter().enumerate();
        let mut queues: Vec<_> = queues
            .map(|(n, queue)| wanted(queue, format!("{name}.{n}"), Origin::Channel, part))
            .collect();
        let tag = format!("{name}.retry");
        let inbox = wanted(&group.inbox, tag, Origin::RetryInbox, prefetch / 4);
        if ordered {
            return Self { base: vec![inbox], partitions: queues };
        }
        queues.push(inbox);
        Self { base: queues, partitions: Vec::new() }
    }
}

/// Consumes these on a new AMQP channel, by `deadline`.
pub(crate) async fn attach(
    all: &[Wanted],
    session: &Session,
    deadline: Instant,
) -> Result<Attached, Refusal> {
    let attachment = Attachment::open(session, deadline).await?;
    let mut attached = Attached { attachment, streams: Vec::with_capacity(all.len()) };
    let mut prefetch = None;
    for wanted in all {
        // The count holds for the consumers that come after it.
        let count = (prefetch != Some(wanted.prefetch)).then_some(wanted.prefetch);
        prefetch = Some(wanted.prefetch);
        let consuming = wanted.consume(&attached.attachment, count);
        let consumed = timeout_at(deadline, consuming).await.map_err(|_| {
            error::late("the broker did not let the consumer attach in time")
                .with_context("queue", &wanted.queue)
        })?;
        let stream = consumed.map_err(|error| Refusal::of(&wanted.queue, &error))?;
        attached.streams.push((wanted.origin, stream));
    }
    Ok(attached)
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
