//! How a retry inbox realises a wait on a log, which hands out in the order of appending only.
//!
//! The inbox is one topic whose partitions are *tiers*. Tier 0 is for what does not wait; tier *k* is for
//! waits of about 250 ms × 2^(k-1). A record carries the moment of its release as its timestamp, and
//! a consumer holds back a tier until its first record is released. Since all waits in a tier are nearly
//! as long, a record is hardly ever behind one that is released later.

use std::time::Duration;

use polymq_core::Timestamp;

/// How many partitions an inbox has.
pub(crate) const COUNT: u32 = 19;

const SHORTEST: Duration = Duration::from_millis(250);

/// How much longer than asked a wait may get on account of the tier, beside 10 %.
pub(crate) const SLACK: Duration = Duration::from_secs(1);

/// The longest wait in one go: 9 hours and 6 minutes.
pub(crate) const LONGEST: Duration = width(COUNT - 1);

/// The wait that a tier is for.
const fn width(tier: u32) -> Duration {
    match tier {
        0 => Duration::ZERO,
        tier => Duration::from_millis((SHORTEST.as_millis() as u64) << (tier - 1)),
    }
}

/// Where to put a record at `now` that is not to be handed out before `at`, and when it is released.
///
/// That is the smallest tier that is long enough, unless a record may then stay behind another for more
/// than [`SLACK`] or 10 % of its wait; else the largest that is not too long. In that case the release comes
/// before `at`, and the pipeline sends the rest on.
pub(crate) fn place(now: Timestamp, at: Timestamp) -> (u32, Timestamp) {
    let wait = at.saturating_since(now);
    let tolerated = wait + SLACK.max(wait / 10);
    let enough = (0..COUNT).find(|tier| width(*tier) >= wait);
    match enough.filter(|tier| width(*tier) <= tolerated) {
        Some(tier) => (tier, at.max(now)),
        None => {
            let tier = enough.unwrap_or(COUNT).saturating_sub(1);
            (tier, now + width(tier))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn placed(wait: Duration) -> (u32, Duration) {
        let (tier, release) = place(NOW, NOW + wait);
        (tier, release.saturating_since(NOW))
    }

    #[test]
    fn what_is_due_does_not_wait() {
        assert_eq!(placed(Duration::ZERO), (0, Duration::ZERO));
        assert_eq!(place(NOW, Timestamp::from_millis(5)), (0, NOW));
    }

    #[test]
    fn a_wait_that_fits_a_tier_is_released_when_it_is_due() {
        for millis in [1, 250, 251, 700, 1_000, 1_500, 3_000, 7_500, 60_000] {
            let wait = Duration::from_millis(millis);
            let (tier, released) = placed(wait);
            if width(tier) >= wait {
                assert_eq!(released, wait);
                assert!(width(tier) <= wait + SLACK.max(wait / 10));
            }
        }
        assert_eq!(placed(Duration::from_secs(3)), (5, Duration::from_secs(3)));
    }

    #[test]
    fn a_wait_between_two_tiers_goes_on_from_the_shorter_one() {
        assert_eq!(placed(Duration::from_secs(5)), (5, Duration::from_secs(4)));
        assert_eq!(placed(Duration::from_secs(86_400)), (COUNT - 1, LONGEST));
    }

    #[test]
    fn no_wait_is_released_more_than_a_millisecond_late_and_each_hop_leaves_at_most_half() {
        let mut wait = Duration::from_millis(1);
        while wait < LONGEST {
            let (_, released) = placed(wait);
            assert!(released <= wait + Duration::from_millis(1), "{wait:?} {released:?}");
            assert!(released >= wait / 2, "{wait:?} {released:?}");
            wait = wait * 11 / 10 + Duration::from_millis(1);
        }
    }
}
