//! Crash safety of the pipeline: stopped at every step between receiving and settling, and started
//! again on the same broker and store, it loses nothing, and repeats only what the step had begun.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that finds something panics")]
#![allow(clippy::print_stdout, reason = "the summary is what one looks at when a point is missing")]

mod effects;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use polymq_testkit::faults::{CrashPoint, Faults, Operation, When};

use effects::Effects;
use world::{Variant, World};

/// More in hand at once than there are inputs.
const WHOLE_BATCH: usize = 8;

/// What happens without a crash, and where one could strike.
async fn undisturbed(variant: Variant) -> (Effects, Vec<CrashPoint>) {
    let world = World::new(variant).await;
    let process = world.start().await;
    let companion = if variant.companion { Some(world.start().await) } else { None };
    world.run_until_idle(&process).await;
    let mut faults = vec![&process.faults];
    faults.extend(companion.as_ref().map(|companion| &companion.faults));
    (Effects::of(&world, &process, &faults).await, process.faults.crash_points())
}

/// Stops a process at its `n`-th point, lets another one go on, and counts over both.
async fn crashed_at(variant: Variant, n: usize) -> (Effects, Option<CrashPoint>) {
    let world = World::new(variant).await;
    let first = world.start().await;
    first.faults.crash_at(n);
    let companion = if variant.companion { Some(world.start().await) } else { None };
    let point = tokio::select! {
        biased;
        point = first.faults.crashed() => Some(point),
        () = world.run_until_idle(&first) => None,
    };
    let before = first.kill().await;
    let second = match companion {
        Some(companion) => companion,
        None => world.start().await,
    };
    world.run_until_idle(&second).await;
    (Effects::of(&world, &second, &[&before, &second.faults]).await, point)
}

/// Checks every crash of `crashed`, and that the crashes hit every operation on both sides.
async fn survives_every_crash(
    variant: Variant,
    undisturbed: &Effects,
    points: usize,
    operations: &[Operation],
    crashed_at: impl AsyncFn(usize) -> (Effects, Option<CrashPoint>),
) {
    let mut reached = BTreeMap::<_, usize>::new();
    let mut repeated = 0;
    for n in 1..=points {
        let (effects, point) = crashed_at(n).await;
        let survived = std::panic::catch_unwind(|| effects.assert_survived(undisturbed, variant));
        assert!(
            survived.is_ok(),
            "{variant:?}, {point:?}\nfound {effects:#?}\nundisturbed {undisturbed:#?}"
        );
        repeated += usize::from(effects.runs != undisturbed.runs);
        if let Some(point) = point {
            *reached.entry((point.operation, point.when)).or_default() += 1;
        }
    }
    let summary: Vec<_> = reached.iter().map(|((o, w), n)| format!("{w} {o}: {n}")).collect();
    println!(
        "{variant:?}: {points} crash points ({}); {repeated} crashes repeated an attempt",
        summary.join(", ")
    );
    let strange = reached.keys().find(|(operation, _)| !operations.contains(operation));
    assert_eq!(strange, None, "{variant:?}: an operation that this variant should not need");
    if variant.companion {
        // Which of them meets which message is chance.
        return;
    }
    let of_one = |o: &Operation| [(*o, When::Before), (*o, When::After)];
    let missing: Vec<_> =
        operations.iter().flat_map(of_one).filter(|p| !reached.contains_key(p)).collect();
    assert!(missing.is_empty(), "{variant:?}: no crash hit {missing:?}");
    if variant.hand == WHOLE_BATCH {
        let halfway = reached.keys().any(|(_, when)| *when == When::Halfway);
        assert!(halfway, "{variant:?}: no crash hit the middle of a batch");
    }
}

async fn survives_a_crash_at_every_point(variant: Variant, operations: &[Operation]) {
    let (effects, points) = undisturbed(variant).await;
    let crashed_at = async |n| crashed_at(variant, n).await;
    survives_every_crash(variant, &effects, points.len(), operations, crashed_at).await;
}

const QUEUE: Variant =
    Variant { atomic: false, store: false, ordered: false, companion: false, hand: 1 };

macro_rules! variants {
    ($($name:ident: $variant:expr, $operations:expr;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                for hand in [1, 3, WHOLE_BATCH] {
                    survives_a_crash_at_every_point(Variant { hand, ..$variant }, &$operations).await;
                }
            }
        )*
    };
}

use Operation::{Claim, Commit, CommitClaim, HandOver, Publish, Release, Renew, Settle};

variants! {
    a_queue: QUEUE, [Publish, Settle];
    a_queue_with_a_store:
        Variant { store: true, ..QUEUE },
        [Claim, Renew, Publish, CommitClaim, HandOver, Settle];
    a_queue_on_an_atomic_broker: Variant { atomic: true, ..QUEUE }, [Commit];
    a_queue_with_a_store_on_an_atomic_broker:
        Variant { atomic: true, store: true, ..QUEUE },
        [Claim, Renew, Publish, CommitClaim, HandOver, Settle];
    a_queue_that_two_processes_consume: Variant { companion: true, ..QUEUE }, [Publish, Settle];
    a_queue_with_a_store_that_two_processes_consume:
        Variant { companion: true, store: true, ..QUEUE },
        [Claim, Renew, Publish, CommitClaim, HandOver, Settle];
    an_ordered_channel_with_a_store_that_two_processes_consume:
        Variant { companion: true, ordered: true, store: true, ..QUEUE },
        [Claim, Renew, Publish, CommitClaim, Settle];
    an_ordered_channel: Variant { ordered: true, ..QUEUE }, [Publish, Settle];
    an_ordered_channel_with_a_store:
        Variant { ordered: true, store: true, ..QUEUE },
        [Claim, Renew, Publish, CommitClaim, Settle];
    an_ordered_channel_on_an_atomic_broker:
        Variant { ordered: true, atomic: true, ..QUEUE }, [Commit];
}

/// Drains a process whose handlers hang, starts another, and counts over both lives.
async fn drained(variant: Variant, crash_at: Option<usize>) -> (Effects, Faults) {
    let world = World::new(variant).await;
    let first = world.start_hanging().await;
    if let Some(n) = crash_at {
        first.faults.crash_at(n);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = first.drain().await;
    let second = world.start().await;
    world.run_until_idle(&second).await;
    (Effects::of(&world, &second, &[&before, &second.faults]).await, before)
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_gives_back_what_is_running() {
    let variant = Variant { store: true, hand: 3, ..QUEUE };
    let (undisturbed, _) = undisturbed(variant).await;
    let (effects, faults) = drained(variant, None).await;
    assert_eq!(effects, undisturbed, "a drain alone changes nothing");
    let points = faults.crash_points().len();
    let crashed_at = async |n| {
        let (effects, faults) = drained(variant, Some(n)).await;
        let fatal = faults.crash_points().last().copied();
        (effects, fatal.filter(|_| faults.is_crashed()))
    };
    survives_every_crash(variant, &undisturbed, points, &[Claim, Settle, Release], crashed_at)
        .await;
}
