//! Keeps retry inboxes small. A log keeps what was handled; nobody goes back to that in an inbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polymq_core::{ErrorKind, Result};
use rand::RngExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::blocking::blocking;
use crate::layout::GroupLayout;
use crate::log::{Log, Part, delete_before};
use crate::target::Target;

/// How often handled retries are deleted, with a half more or less, as other processes do the same.
const EVERY: Duration = Duration::from_secs(60);

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The inboxes that this process consumes from. Dropping it ends the work.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    by_group: Mutex<HashMap<Arc<str>, AbortOnDropHandle<()>>>,
}

impl Inboxes {
    /// Looks after the inbox of a group from now on.
    pub(crate) fn keep(&self, target: &Arc<Target>, group: &GroupLayout) {
        let mut by_group = self.by_group.lock().unwrap_or_else(PoisonError::into_inner);
        by_group.entry(Arc::clone(&group.id)).or_insert_with(|| {
            let kept = keep_small(Arc::clone(target), Log::new(group.clone(), Part::Inbox));
            AbortOnDropHandle::new(tokio::spawn(kept))
        });
    }

    /// Ends the work.
    pub(crate) fn close(&self) {
        self.by_group.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn keep_small(target: Arc<Target>, log: Log) {
    loop {
        let wait = EVERY.mul_f64(rand::rng().random_range(0.5..1.5));
        sleep(wait).await;
        let deadline = Instant::now() + PATIENCE;
        let (of, client) = (log.clone(), Arc::clone(&target));
        let deleted = blocking(deadline, move || delete_handled(&client, &of, deadline)).await;
        match deleted {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                tracing::warn!(
                    broker = target.broker(),
                    topic = &*log.topic,
                    "handled retries stay in the topic: grant the user DELETE on it"
                );
                return;
            }
            Err(e) => tracing::debug!(
                broker = target.broker(),
                topic = &*log.topic,
                "handled retries were not deleted this time: {e}"
            ),
        }
    }
}

/// Deletes what lies before the group's committed offsets.
fn delete_handled(target: &Target, log: &Log, deadline: Instant) -> Result<()> {
    let session = log.open(target, deadline)?;
    let partitions = session.existing(&log.topic)?.partitions;
    let beginnings = session.beginnings(&log.topic, partitions)?;
    let committed = session.committed(&log.topic, partitions)?;
    let handled = (0..).zip(beginnings).zip(committed);
    let handled: Vec<_> = handled
        .filter_map(|((partition, first), committed)| {
            committed.filter(|offset| *offset > first).map(|offset| (partition, offset))
        })
        .collect();
    if handled.is_empty() { Ok(()) } else { delete_before(&session, &log.topic, handled) }
}

#[cfg(test)]
mod tests {
    use polymq_core::broker::{Adapter, ChannelSpec, Connect, Topology};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::config::BrokerTable;
    use crate::fixture::server;
    use crate::layout::Layout;
    use crate::session::Session;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_handled_is_deleted_and_what_waits_stays() {
        let (url, owned) = (server().url(), server().namespace().unwrap());
        let namespace = owned.name().clone();
        let topology =
            Topology { namespace, channels: vec![ChannelSpec::queue("q".parse().unwrap())] };
        let deadline = Instant::now() + PATIENCE;
        let request =
            || Connect::new("kafka", vec![url.clone().into()], topology.clone(), deadline);
        let broker = crate::adapter().connect(request()).await.unwrap();
        broker.admin().apply(&broker.admin().plan().await.unwrap()).await.unwrap();

        let target = Target::new(&request(), BrokerTable::default()).unwrap();
        let names = Layout::new(&topology).unwrap();
        let names = names.group(&"q".parse().unwrap(), &"q".parse().unwrap()).unwrap();
        let log = Log::new(names, Part::Inbox);
        let beginnings = tokio::task::spawn_blocking(move || {
            let producer: BaseProducer = target.client("test").unwrap().create().unwrap();
            for partition in [2, 2, 2, 5] {
                let record =
                    BaseRecord::<str, str>::to(&log.topic).partition(partition).payload("m");
                producer.send(record).map_err(|(e, _)| e).unwrap();
            }
            producer.flush(PATIENCE).unwrap();
            let session: Session = log.open(&target, deadline).unwrap();
            session.commit(&log.topic, [(2, 2)]).unwrap();
            delete_handled(&target, &log, deadline).unwrap();
            session.beginnings(&log.topic, 6).unwrap()
        });
        assert_eq!(beginnings.await.unwrap(), [0, 0, 2, 0, 0, 0]);
    }
}
