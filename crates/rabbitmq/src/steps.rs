//! How long a message can wait in one go: the steps.
//!
//! A queue-level time-to-live lets every message of a queue wait equally long, so that none blocks
//! another. A namespace therefore has one delay queue per step, shared by all its retry inboxes. Steps
//! are whole seconds: 1 s apart up to 10 s, 10 % apart up to an hour, doubling above.
//!
//! A quorum queue is not free: about 9 ms to declare and 160 kB of the broker's memory. A namespace has
//! only the steps that its configuration can ask for, and a [`BACKBONE`] on which every other wait
//! travels in a few hops: a message that comes early is sent on by the pipeline.

use std::collections::BTreeSet;
use std::time::Duration;

/// Steps that every namespace has, in seconds: 1, 2, 5 and 10 seconds, 1 and 10 minutes, an hour, a day.
pub(crate) const BACKBONE: [u64; 8] = [1, 2, 5, 10, 60, 600, HOUR, DAY];

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// The longest step: RabbitMQ takes no time-to-live above 49 days.
const LONGEST: u64 = 16 * DAY;

/// The steps that a topology makes, in ascending seconds, so that waits up to `longest` come home in one
/// hop, or two.
pub(crate) fn made_for(longest: Duration) -> Vec<u64> {
    let fits =
        |step: &u64| Duration::from_secs(*step) <= longest || overshoots_little(*step, longest);
    let wanted: BTreeSet<u64> = all().filter(fits).chain(BACKBONE).collect();
    wanted.into_iter().collect()
}

/// The step for a wait: the smallest that covers it and is late by no more than a second or a tenth of
/// the wait; else the longest that ends before it. `None` when every step is far too long.
///
/// `steps` ascend.
pub(crate) fn choose(steps: &[u64], wait: Duration) -> Option<u64> {
    let covering = steps.partition_point(|step| Duration::from_secs(*step) < wait);
    match steps.get(covering) {
        Some(step) if overshoots_little(*step, wait) => Some(*step),
        _ => covering.checked_sub(1).map(|before| steps[before]),
    }
}

fn overshoots_little(step: u64, wait: Duration) -> bool {
    let slack = (wait / 10).max(Duration::from_secs(1));
    Duration::from_secs(step) <= wait.saturating_add(slack)
}

/// Every step there can be. Each member of the backbone is one of them.
fn all() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(1), |step| {
        let next = match *step {
            ..10 => step + 1,
            10..HOUR => (step * 11).div_ceil(10),
            _ => step * 2,
        };
        let anchor = BACKBONE.into_iter().find(|anchor| anchor > step).unwrap_or(LONGEST);
        (*step < LONGEST).then(|| next.min(anchor))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hops of a wait, and by how much it ends late.
    fn travel(steps: &[u64], wait: Duration) -> (u32, Duration) {
        let (mut hops, mut left) = (0, wait);
        loop {
            hops += 1;
            let step = Duration::from_secs(choose(steps, left).unwrap());
            match left.checked_sub(step) {
                None | Some(Duration::ZERO) => return (hops, step - left),
                Some(rest) => left = rest,
            }
        }
    }

    fn waits() -> impl Iterator<Item = Duration> {
        let growing = |ms: &u64| Some(ms + ms / 23 + 7);
        let thirty_days = 30 * DAY * 1000;
        std::iter::successors(Some(1), growing)
            .take_while(move |ms| *ms < thirty_days)
            .map(Duration::from_millis)
    }

    #[test]
    fn steps_are_a_second_then_a_tenth_apart_then_they_double() {
        let steps: Vec<u64> = all().collect();
        assert_eq!(steps[..16], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 21]);
        assert!(BACKBONE.iter().all(|step| steps.contains(step)), "{steps:?}");
        let to_an_hour = steps.iter().filter(|step| (10..HOUR).contains(*step));
        assert!(to_an_hour.clone().count() < 70);
        assert_eq!(
            steps[steps.len() - 9..],
            [1, 2, 4, 8, 16, 24, 48, 96, 192, 384].map(|h| h * HOUR)[1..]
        );
    }

    #[test]
    fn a_namespace_has_few_of_them() {
        assert_eq!(made_for(Duration::ZERO), BACKBONE);
        assert_eq!(made_for(Duration::from_secs(16)).len(), 18);
        assert_eq!(made_for(Duration::from_secs(300)).len(), 46);
        assert_eq!(made_for(Duration::MAX).len(), all().count());
    }

    #[test]
    fn a_wait_that_the_topology_was_made_for_comes_home_in_two_hops() {
        let steps = made_for(Duration::from_secs(3600));
        for wait in waits().take_while(|wait| wait.as_secs() < 3600) {
            let (hops, late) = travel(&steps, wait);
            assert!(hops <= 2, "{wait:?} took {hops} hops");
            assert!(late <= (wait / 10).max(Duration::from_secs(1)), "{wait:?} is {late:?} late");
        }
    }

    #[test]
    fn every_other_wait_travels_on_the_backbone() {
        for wait in waits() {
            let (hops, late) = travel(&BACKBONE, wait);
            assert!(u64::from(hops) <= 45 + wait.as_secs() / DAY, "{wait:?} took {hops} hops");
            assert!(late <= (wait / 10).max(Duration::from_secs(1)), "{wait:?} is {late:?} late");
        }
    }

    #[test]
    fn a_step_that_is_missing_is_travelled_around() {
        assert_eq!(choose(&BACKBONE, Duration::from_millis(10)), Some(1));
        assert_eq!(choose(&[2, 5], Duration::from_secs(1)), Some(2));
        assert_eq!(choose(&[1, 10], Duration::from_secs(5)), Some(1));
        assert_eq!(choose(&[60], Duration::from_secs(1)), None);
        assert_eq!(choose(&[], Duration::from_secs(1)), None);
    }
}
