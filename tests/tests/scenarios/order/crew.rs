use std::path::PathBuf;

use polymq_tests::real::{
    Deed, Place, Process, Reader, Series, confirmed, eventually, handled, tally,
};

use super::partitions::Partitions;
use super::trace::{Trace, in_hand};
use crate::programs::{Load, publisher, worker};

/// What one process has in hand at most.
const PREFETCH: u64 = 192;
/// In milliseconds, on average: at any time a process has some messages in hand.
const WORK: u64 = 40;

const CONFIG: &str = r#"
[channels.orders]
kind = "queue"
order_by = "key"
partitions = 12
[consumers.worker]
channel = "orders"
concurrency = 16
prefetch = 192
"#;

/// Three processes, at first, that share the partitions of a channel while another one publishes.
pub(super) struct Crew {
    place: Place,
    config: PathBuf,
    partitions: Partitions,
    workers: Vec<Process>,
    publisher: Option<Process>,
    published: Reader,
    attempts: Reader,
    /// What happened, for the line that is printed at the end.
    joined: usize,
    left: usize,
    /// How often a process may have handed over to others.
    handovers: usize,
}

impl Crew {
    pub(super) async fn start(series: Series, load: Load) -> Self {
        let place = Place::shared(series).await;
        let config = place.config(CONFIG);
        let partitions = Partitions::ask(&place, load.tasks).await;
        let file = |name| place.folder().path(name);
        let (published, attempts) =
            (Reader::follow(file("published")), Reader::follow(file("attempts")));
        let workers = [(); 3].map(|()| worker(&config, &file("attempts"), WORK)).into();
        let publisher = Some(publisher(&config, &file("published"), load));
        Self {
            place,
            config,
            partitions,
            workers,
            publisher,
            published,
            attempts,
            joined: 0,
            left: 0,
            handovers: 3,
        }
    }

    /// One more takes part.
    pub(super) fn join(&mut self) {
        self.workers.push(worker(&self.config, &self.place.folder().path("attempts"), WORK));
        self.joined += 1;
        self.handovers += self.workers.len();
    }

    /// The one that takes part for longest leaves.
    pub(super) async fn leave(&mut self) {
        self.workers.remove(0).terminate().await.assert_success();
        self.left += 1;
        self.handovers += self.workers.len();
    }

    /// Kills the one with most in hand while a new one is just taking over; its id.
    pub(super) async fn kill_while_another_takes_over(&mut self) -> u32 {
        self.join();
        let (workers, attempts) = (&self.workers, &mut self.attempts);
        let busiest = eventually("the newest has messages, and an older one, too", async || {
            let notes = attempts.notes();
            let (newest, older) = workers.split_last().unwrap();
            let has_begun = notes.iter().any(|note| note.pid == newest.id());
            let in_hand: Vec<_> = older.iter().map(|w| in_hand(notes, w.id())).collect();
            let busiest = in_hand.iter().position(|count| *count >= 4);
            busiest.filter(|_| has_begun).ok_or((has_begun, in_hand))
        })
        .await;
        let killed = self.workers.remove(busiest);
        self.handovers += self.workers.len();
        let id = killed.id();
        killed.kill().await;
        id
    }

    /// Waits until the partitions are spread evenly.
    pub(super) async fn spread(&mut self) {
        self.partitions.spread(&mut self.attempts, &self.workers).await;
    }

    /// How many messages are confirmed.
    pub(super) fn confirmed(&mut self) -> usize {
        self.published.count(Deed::Confirmed)
    }

    /// Waits until so many messages are confirmed.
    pub(super) async fn until_confirmed(&mut self, count: usize) {
        eventually("more is confirmed", async || match self.confirmed() {
            confirmed if confirmed >= count => Ok(()),
            confirmed => Err(confirmed),
        })
        .await;
    }

    /// The publisher, which is to be ended, or awaited, before the crew is.
    pub(super) fn publisher(&mut self) -> Process {
        self.publisher.take().expect("a publisher")
    }

    /// Waits until all is handled, and holds it against what was promised; `killed` had messages in hand.
    pub(super) async fn finish(mut self, killed: Option<u32>) {
        let total = confirmed(self.published.notes());
        let attempts = &mut self.attempts;
        eventually("all are handled", async || {
            let handled = handled(attempts.notes());
            if handled == total { Ok(()) } else { Err(handled) }
        })
        .await;
        for worker in self.workers {
            worker.terminate().await.assert_success();
        }
        let tally = tally(self.published.notes(), self.attempts.notes());
        let killed_with = killed.map(|killed| in_hand(self.attempts.notes(), killed));
        println!(
            "{}, 12 partitions, {} left, {} joined, killed with so many in hand: {killed_with:?}: {tally}",
            self.place.label(),
            self.left,
            self.joined,
        );
        assert_ne!(killed_with, Some(0), "the process was killed while it did nothing");
        assert_eq!((tally.lost, tally.unexpected), (0, 0), "{tally}");
        let by_handover = self.place.repeated_by_handover(PREFETCH);
        let by_kill = killed.map_or(0, |_| PREFETCH + self.place.uncommitted());
        let bound = by_kill + by_handover * self.handovers as u64;
        assert!(tally.duplicated <= bound, "more than {bound}: {tally}");
        Trace::of(self.attempts.notes(), killed, by_handover > 0).assert_ordered();
    }
}
