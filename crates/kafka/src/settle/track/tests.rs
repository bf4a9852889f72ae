use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::*;

fn record(offset: i64) -> Record<i64> {
    Record { offset, release: 0, bytes: 1, item: Some(offset) }
}

fn due(offset: i64, release: u64) -> Record<i64> {
    Record { release, ..record(offset) }
}

fn offsets(track: &mut Track<i64>, now: u64) -> Vec<i64> {
    std::iter::from_fn(|| track.hand_out(now, 1)).map(|out| out.offset).collect()
}

#[test]
fn the_position_is_behind_the_last_of_those_done_without_a_gap() {
    let mut track = Track::new(10);
    // 11 and 12 were compacted away, 14 marks a transaction.
    for offset in [10, 13, 15] {
        track.push(record(offset));
    }
    let outs: Vec<_> = std::iter::from_fn(|| track.hand_out(0, 1)).collect();
    assert_eq!(track.ack(outs[1].sequence, 1), Some(0));
    assert_eq!((track.position(), track.stranded()), (10, 1));
    assert_eq!(track.ack(outs[0].sequence, 1), Some(2));
    assert_eq!((track.position(), track.stranded()), (14, 0));
    assert_eq!(track.ack(outs[2].sequence, 1), Some(1));
    assert_eq!(track.position(), 16);
}

#[test]
fn what_nobody_is_to_see_is_done() {
    let mut track = Track::new(0);
    track.push(record(0));
    assert_eq!(track.push(Record { item: None, ..record(1) }), 0);
    assert_eq!(offsets(&mut track, 0), [0]);
    assert_eq!(track.ack(0, 1), Some(2));
    assert_eq!(track.push(Record { item: None, ..record(2) }), 1);
    assert_eq!(track.position(), 3);
}

#[test]
fn what_was_fetched_twice_is_taken_in_once() {
    let mut track = Track::new(0);
    for offset in [0, 1, 0, 1, 2] {
        track.push(record(offset));
    }
    assert_eq!(offsets(&mut track, 0), [0, 1, 2]);
}

#[test]
fn what_waits_comes_by_its_release_and_not_before() {
    let mut track = Track::new(0);
    for (offset, release) in [(0, 30), (1, 10), (2, 10), (3, 50)] {
        track.push(due(offset, release));
    }
    assert!(offsets(&mut track, 9).is_empty());
    assert_eq!(track.next_release(), Some(10));
    assert_eq!(offsets(&mut track, 30), [1, 2, 0]);
    assert_eq!(track.next_release(), Some(50));
}

#[test]
fn a_settled_or_released_hand_out_settles_nothing_any_more() {
    let mut track = Track::new(0);
    track.push(record(0));
    track.push(record(1));
    assert_eq!(track.hand_out(0, 1).map(|out| out.again), Some(false));
    assert_eq!(track.release(0, 1), Some(()));
    assert_eq!(track.ack(0, 1), None);
    assert_eq!(track.hand_out(0, 2).map(|out| (out.offset, out.again)), Some((0, true)));
    assert_eq!(track.ack(0, 1), None, "an earlier hand-out");
    assert_eq!(track.ack(0, 2), Some(1));
    assert_eq!((track.ack(0, 2), track.release(0, 2)), (None, None));
    assert_eq!(track.ack(1, 2), None, "never handed out");
    assert_eq!(track.ack(7, 2), None, "not there");
}

/// Whatever happens in whatever order, all that is below the position was acked, nothing that was acked
/// comes again, and in the end everything was.
#[test]
fn no_order_of_settlements_lets_a_commit_pass_what_is_not_done() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut track = Track::new(0);
        let (mut next, mut generation) = (0, 0);
        let mut in_hand = Vec::new();
        let mut all = Vec::new();
        let mut acked = Vec::new();
        let mut done = 0;
        for step in 0..2_000 {
            match rng.random_range(0..if step < 1_000 { 4 } else { 3 }) {
                3 => {
                    next += rng.random_range(1..4);
                    done += track.push(record(next));
                    all.push(next);
                }
                0 => {
                    generation += 1;
                    let out = track.hand_out(0, generation);
                    in_hand.extend(out.map(|out| (out.sequence, generation, out.offset)));
                }
                how => {
                    let Some(chosen) = in_hand.choose(&mut rng).copied() else { continue };
                    in_hand.retain(|other| *other != chosen);
                    let (sequence, generation, offset) = chosen;
                    if how == 1 || step >= 1_500 {
                        done += track.ack(sequence, generation).unwrap();
                        assert!(!acked.contains(&offset));
                        acked.push(offset);
                    } else {
                        track.release(sequence, generation).unwrap();
                    }
                    assert_eq!(track.ack(sequence, generation), None);
                }
            }
            let below = all.iter().filter(|offset| **offset < track.position());
            assert!(below.clone().all(|offset| acked.contains(offset)), "seed {seed}");
            assert_eq!(below.count(), done);
            assert_eq!(track.in_hand(), in_hand.len());
            assert_eq!(track.in_hand() + track.buffered() + acked.len(), all.len());
            assert_eq!(track.stranded() + done, acked.len());
        }
        while let Some(out) = track.hand_out(0, u32::MAX) {
            track.ack(out.sequence, u32::MAX).unwrap();
        }
        for (sequence, generation, _) in in_hand {
            track.ack(sequence, generation).unwrap();
        }
        assert_eq!(track.position(), next + 1);
        assert_eq!(
            (track.in_hand(), track.buffered(), track.stranded(), track.bytes()),
            (0, 0, 0, 0)
        );
    }
}
