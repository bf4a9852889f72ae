//! What happened, counted by id.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use polymq_core::broker::{Destination, Source, StartPosition};
use polymq_core::model::hop;
use polymq_core::{ChannelName, GroupName, Running};
use polymq_testkit::faults::Faults;

use crate::world::{Process, Variant, World};

/// How often something occurred, by what it is.
pub(crate) type Counts<K> = BTreeMap<K, usize>;

/// How often what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Handler runs by input id and attempt.
    pub(crate) runs: Counts<(String, u32)>,
    /// By output id.
    outputs: Counts<String>,
    /// By input id.
    dead_letters: Counts<String>,
    /// Confirmed retry copies by input id and attempt.
    copies: Counts<(String, u32)>,
}

impl Effects {
    /// What happened in a world, over all its processes.
    pub(crate) async fn of(world: &World, last: &Process, all: &[&Faults]) -> Self {
        let results = Source::Group {
            channel: ChannelName::new("results").unwrap(),
            group: GroupName::new("results").unwrap(),
        };
        let dead = Source::DeadLetter(ChannelName::new("work-dead").unwrap());
        let copies = all.iter().flat_map(|faults| faults.sends()).filter(|send| {
            matches!(send.destination, Destination::RetryInbox { .. })
                && send.outcome.is_confirmed()
        });
        Self {
            runs: count(world.runs()),
            outputs: count(ids(&last.running, &results).await),
            dead_letters: count(ids(&last.running, &dead).await),
            copies: count(copies.map(|send| {
                let attempt = send.message.headers().get_str(hop::ATTEMPT).unwrap();
                (send.message.id().unwrap().to_string(), attempt.parse().unwrap())
            })),
        }
    }

    /// Panics unless one crash explains every difference to an undisturbed run.
    pub(crate) fn assert_survived(&self, undisturbed: &Self, variant: Variant) {
        assert_eq!(keys(&self.outputs), keys(&undisturbed.outputs), "ids of the outputs");
        assert_eq!(keys(&self.dead_letters), keys(&undisturbed.dead_letters), "dead letters");
        assert_eq!(keys(&self.runs), keys(&undisturbed.runs), "attempts");
        let twice = |n| 2 * n;
        assert_within("run of", &self.runs, &undisturbed.runs, twice);
        assert_within("output", &self.outputs, &undisturbed.outputs, twice);
        assert_within("dead letter", &self.dead_letters, &undisturbed.dead_letters, twice);
        assert_within("copy of", &self.copies, &undisturbed.copies, twice);
        if variant.atomic && !variant.store {
            assert_eq!(self.outputs, undisturbed.outputs, "sent with the ack, so once");
            assert_eq!(self.dead_letters, undisturbed.dead_letters, "sent with the ack, so once");
            assert_eq!(self.copies, undisturbed.copies, "sent with the ack, so once");
        }
        if variant.store && !variant.ordered {
            // One chain of retries: the interrupted attempt is all that is repeated.
            let once_more = |n| n + 1;
            let (runs, copies) = (by_id(&self.runs), by_id(&self.copies));
            assert_within("all runs of", &runs, &by_id(&undisturbed.runs), once_more);
            assert_within("all copies of", &copies, &by_id(&undisturbed.copies), once_more);
        }
    }
}

async fn ids(running: &Running, source: &Source) -> Vec<String> {
    let channel = match source {
        Source::Group { channel, .. } | Source::DeadLetter(channel) => channel,
        other => panic!("{other}"),
    };
    let admin = running.broker_of(channel.as_str()).unwrap().admin();
    let mut browse = admin.browse(source, StartPosition::Earliest).await.unwrap();
    let peeked = browse.next(1000).await.unwrap();
    peeked.iter().map(|p| p.message.id().unwrap().to_string()).collect()
}

fn count<K: Ord>(items: impl IntoIterator<Item = K>) -> Counts<K> {
    let mut counts = Counts::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

fn keys<K: Ord>(counts: &Counts<K>) -> BTreeSet<&K> {
    counts.keys().collect()
}

/// All attempts of each id together.
fn by_id(counts: &Counts<(String, u32)>) -> Counts<&str> {
    let mut sums = Counts::new();
    for ((id, _), n) in counts {
        *sums.entry(id.as_str()).or_default() += n;
    }
    sums
}

/// Panics when something occurred more often than `limit` of its undisturbed count.
fn assert_within<K: Ord + Debug>(
    what: &str,
    found: &Counts<K>,
    undisturbed: &Counts<K>,
    limit: impl Fn(usize) -> usize,
) {
    for (key, n) in found {
        let usual = undisturbed.get(key).copied().unwrap_or_default();
        assert!(*n <= limit(usual), "{what} {key:?}: {n} times, undisturbed {usual}");
    }
}
