use std::collections::BTreeMap;
use std::path::Path;

use polymq_core::{Message, Service};
use polymq_tests::real::{Deed, NAMESPACE, Note, Place, Process, Reader, eventually, start};
use reqwest::Method;
use serde_json::json;

/// How many the channel has.
const COUNT: usize = 12;

/// Which key lies in which partition.
pub(super) struct Partitions(BTreeMap<String, usize>);

impl Partitions {
    /// Sends a message of each key and looks into which queue the broker put it.
    pub(super) async fn ask(place: &Place, config: &Path, keys: usize) -> Self {
        let shop = start(config, Service::new(())).await;
        let probe = |n| Message::new(format!("k{n}")).with_key(format!("k{n}"));
        for outcome in shop.publisher().publish_all("orders", (0..keys).map(probe)).await.unwrap() {
            outcome.into_result().unwrap();
        }
        shop.drain().await;
        let mut found = BTreeMap::new();
        for partition in 0..COUNT {
            let path = format!("queues/{{vhost}}/{NAMESPACE}.orders._{partition}/get");
            let all = json!({ "count": keys, "ackmode": "ack_requeue_false", "encoding": "auto" });
            let probes = place.management().call(Method::POST, &path, Some(all)).await;
            let keys = probes.as_array().unwrap().iter().map(|m| m["payload"].as_str().unwrap());
            found.extend(keys.map(|key| (key.to_owned(), partition)));
            assert!(
                found.values().any(|p| *p == partition),
                "no key lies in partition {partition}"
            );
        }
        assert_eq!(found.len(), keys);
        Self(found)
    }

    /// Waits until messages of each partition come to one of these processes, each process has some, and
    /// none has more than four above its share. Who gets which is drawn by lot: this holds but for once
    /// in a few thousand draws.
    pub(super) async fn spread(&self, attempts: &mut Reader, workers: &[Process]) {
        let since = attempts.notes().len();
        let most = COUNT / workers.len() + 4;
        let spread = eventually("the partitions are spread over the processes", async || {
            let owners = self.owners(&attempts.notes()[since..]);
            let mut counts: Vec<_> = workers
                .iter()
                .map(|worker| owners.values().filter(|owner| **owner == worker.id()).count())
                .collect();
            counts.sort_unstable();
            let all_have_one = counts.iter().sum::<usize>() == COUNT;
            let is_even = counts[0] > 0 && counts[counts.len() - 1] <= most;
            if all_have_one && is_even { Ok(counts) } else { Err(counts) }
        })
        .await;
        println!("{COUNT} partitions over {} processes: {spread:?}", workers.len());
    }

    /// The process that got the latest message of each partition.
    fn owners(&self, notes: &[Note]) -> BTreeMap<usize, u32> {
        let began = notes.iter().filter(|note| note.deed == Deed::Began);
        let owner = |note: &Note| {
            let (key, _) = note.id.rsplit_once('-').unwrap();
            (self.0[key], note.pid)
        };
        began.map(owner).collect()
    }
}
