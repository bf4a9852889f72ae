//! Looks after what found no queue.
//!
//! What is published to a queue whose physical queue was deleted, or comes home from a wait to an inbox
//! that is gone, is confirmed and kept in `NS._homeless`. Kept is not handled: somebody has to be told.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use polymq_core::Result;
use polymq_core::broker::{Event, EventSender};
use tokio::time::{Instant, sleep, timeout_at};

use crate::error;
use crate::link::Link;

/// How often the queue is looked at.
const EVERY: Duration = Duration::from_secs(30);

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells of messages in `queue`, whenever their number has changed; never ends.
pub(crate) async fn watch(link: Arc<Link>, queue: ShortString, events: EventSender) {
    let mut known = 0;
    loop {
        match count(&link, &queue).await {
            Ok(messages) if messages != known => {
                known = messages;
                if messages > 0 {
                    tracing::warn!(
                        queue = %queue,
                        messages,
                        "messages found no queue and wait here: make the missing queue again \
                         (`polymq topology apply`), then move them"
                    );
                    events.send(Event::Homeless { object: queue.to_string(), messages });
                }
            }
            Ok(_) => {}
            // Away, or never applied: others say so.
            Err(error) => tracing::debug!(%error, %queue, "not looked at"),
        }
        sleep(EVERY).await;
    }
}

async fn count(link: &Link, queue: &ShortString) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    let channel = link.session(deadline).await?.channel(deadline).await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked = channel.queue_declare(queue.clone(), options, FieldTable::default());
    let found = timeout_at(deadline, asked).await.map_err(|_| error::late("no answer in time"))?;
    let messages = found.map_err(|e| error::native(&e))?.message_count();
    // Closed when it is dropped; the answer is of no interest.
    drop(channel);
    Ok(u64::from(messages))
}
