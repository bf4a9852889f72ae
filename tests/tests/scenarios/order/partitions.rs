use std::collections::{BTreeMap, BTreeSet};

use polymq_core::Service;
use polymq_tests::real::{Deed, Note, Place, Process, Reader, eventually, start};

/// How many the channel has.
const COUNT: usize = 12;

/// A channel like the one in the test.
const PROBES: &str = "[channels.probes]\nkind = 'queue'\norder_by = 'key'\npartitions = 12";

/// Which key lies in which partition.
pub(super) struct Partitions(BTreeMap<String, usize>);

impl Partitions {
    /// Asks the broker: every partition has a key at least.
    pub(super) async fn ask(place: &Place, keys: usize) -> Self {
        let shop = start(&place.config(PROBES), Service::new(())).await;
        let names: Vec<_> = (0..keys).map(|n| format!("k{n}")).collect();
        let found = place.partitions(&shop, "probes", &names).await;
        assert_eq!(found.len(), keys);
        let used: BTreeSet<_> = found.values().collect();
        assert_eq!(used.len(), COUNT, "partitions that no key lies in: {found:?}");
        Self(found)
    }

    /// Waits until messages of each partition come to one of these processes, and none has more than its
    /// share: with 12 partitions, three processes have four each.
    pub(super) async fn spread(&self, attempts: &mut Reader, workers: &[Process]) {
        let since = attempts.notes().len();
        let share = COUNT.div_ceil(workers.len());
        let spread = eventually("the partitions are spread over the processes", async || {
            let owners = self.owners(&attempts.notes()[since..]);
            let mut counts: Vec<_> = workers
                .iter()
                .map(|worker| owners.values().filter(|owner| **owner == worker.id()).count())
                .collect();
            counts.sort_unstable();
            let all_have_one = counts.iter().sum::<usize>() == COUNT;
            let is_even = counts.iter().all(|count| *count <= share);
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
