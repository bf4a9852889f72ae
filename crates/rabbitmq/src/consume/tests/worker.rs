//! A consumer that handles what it gets, and what all of them together write down.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polymq_core::broker::{Consumer, Settlement};
use tokio_util::task::AbortOnDropHandle;

use super::scene::{soon, text};
use crate::consume::RabbitmqConsumer;

/// A text says its partition and its number there.
pub(super) const STEP: u32 = 100_000;

/// What was handed out of each partition, in the order of hand-outs, and what was acked.
#[derive(Default)]
pub(super) struct Journal(Mutex<Vec<(u32, u32, Entry)>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    HandedOut,
    Acked,
}

impl Journal {
    fn note(&self, text: u32, entry: Entry) {
        self.0.lock().unwrap().push((text / STEP, text % STEP, entry));
    }

    /// How many different messages were acked.
    pub(super) fn acked(&self) -> usize {
        let journal = self.0.lock().unwrap();
        let acked = journal.iter().filter(|(_, _, entry)| *entry == Entry::Acked);
        acked.map(|(partition, n, _)| (partition, n)).collect::<BTreeSet<_>>().len()
    }

    /// Nothing overtook another message, and only so many came more than once.
    pub(super) fn assert_ordered(&self, partitions: u32, most_again: usize) {
        let journal = self.0.lock().unwrap();
        let mut again = 0;
        for partition in 0..partitions {
            let (mut next, mut acked) = (0, None);
            for &(_, n, entry) in journal.iter().filter(|(p, _, _)| *p == partition) {
                match entry {
                    Entry::Acked => acked = acked.max(Some(n)),
                    Entry::HandedOut => {
                        assert!(n <= next, "{n} of {partition} came before {next}");
                        assert!(
                            acked.is_none_or(|acked| acked < n + 1),
                            "{n} of {partition} came after a later one was acked"
                        );
                        again += usize::from(n < next);
                        next = n + 1;
                    }
                }
            }
        }
        assert!(again <= most_again, "{again} came again");
    }
}

pub(super) struct Worker {
    pub(super) consumer: Arc<RabbitmqConsumer>,
    task: AbortOnDropHandle<()>,
}

impl Worker {
    /// Acks what it gets, one by one, after `work` for each.
    pub(super) fn start(
        consumer: RabbitmqConsumer,
        journal: &Arc<Journal>,
        work: Duration,
    ) -> Self {
        let consumer = Arc::new(consumer);
        let handling = handle(Arc::clone(&consumer), Arc::clone(journal), work);
        Self { consumer, task: AbortOnDropHandle::new(tokio::spawn(handling)) }
    }

    /// The partitions that it has, those that it is about to give up included.
    pub(super) fn partitions(&self) -> BTreeSet<usize> {
        let state = self.consumer.shared.lock();
        state.lanes.iter().filter_map(|lane| lane.partition).collect()
    }

    /// Finishes what is in hand and leaves.
    pub(super) async fn leave(self) {
        self.consumer.pause();
        while self.consumer.status().in_flight > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.task.abort();
        self.consumer.close(soon()).await.unwrap();
    }
}

async fn handle(consumer: Arc<RabbitmqConsumer>, journal: Arc<Journal>, work: Duration) {
    while let Ok(deliveries) = consumer.recv(8).await {
        deliveries.iter().for_each(|d| journal.note(text(d), Entry::HandedOut));
        for delivery in &deliveries {
            tokio::time::sleep(work).await;
            // Noted first: with the ack the next one is anybody's.
            let is_ours = consumer.extend(&[delivery.token], soon()).await[0].is_ok();
            if is_ours {
                journal.note(text(delivery), Entry::Acked);
            }
            consumer.settle(&[(delivery.token, Settlement::Ack)], soon()).await;
        }
    }
}
