use std::time::Duration;

use super::*;
use crate::clock::system_clock;
use crate::model::{ChannelName, ConsumerName, GroupName, Message, Position};

fn hand(ordered: bool) -> Hand {
    let scope = Scope {
        consumer: ConsumerName::new("c").unwrap(),
        channel: ChannelName::new("q").unwrap(),
        group: GroupName::new("q").unwrap(),
        outputs: Vec::new(),
        clock: system_clock(),
    };
    Hand::new(ordered, Arc::new(scope))
}

fn token(n: u64) -> Token {
    Token { consumer: 1, epoch: 0, slot: n, generation: 0 }
}

fn delivery(n: u64, key: &str) -> Delivery {
    let message = Message::new("").with_id(n.to_string()).with_key(key.to_owned());
    let mut delivery = Delivery::new(message, token(n));
    delivery.position = Some(Position { partition: 0, offset: n });
    delivery
}

fn take(hand: &Hand, deliveries: impl IntoIterator<Item = Delivery>) -> Vec<Offered> {
    let mut offers = Vec::new();
    hand.take_in(deliveries.into_iter().collect(), Instant::now(), |offered, _| {
        offers.push(offered);
    });
    offers
}

fn started(hand: &Hand) -> Vec<Job> {
    std::iter::from_fn(|| hand.lock().start_next()).collect()
}

fn ids(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|j| j.attempt.id.as_str()).collect()
}

#[tokio::test]
async fn only_the_head_of_a_key_is_worked_on() {
    let hand = hand(true);
    take(&hand, [delivery(1, "a"), delivery(2, "a"), delivery(3, "b")]);
    let mut jobs = started(&hand);
    assert_eq!(ids(&jobs), ["1", "3"]);
    hand.settling(jobs[0].key);
    assert!(started(&hand).is_empty(), "settling is not settled");
    hand.remove([jobs.remove(0)]);
    assert_eq!(ids(&started(&hand)), ["2"]);
}

#[tokio::test]
async fn a_parked_head_holds_its_key_and_no_other() {
    let hand = hand(true);
    take(&hand, [delivery(1, "a"), delivery(2, "a"), delivery(3, "b")]);
    let head = started(&hand).remove(0);
    let until = Instant::now() + Duration::from_secs(10);
    assert!(hand.park(head, until).is_none());
    take(&hand, [delivery(4, "b"), delivery(5, "c")]);
    assert_eq!(ids(&started(&hand)), ["5"], "3 is running, 1 waits");
    hand.wake_due(until);
    assert_eq!(ids(&started(&hand)), ["1"]);
}

#[tokio::test]
async fn what_waits_behind_a_released_delivery_is_released_with_it() {
    let hand = hand(true);
    take(&hand, [delivery(1, "a"), delivery(2, "a"), delivery(3, "a"), delivery(4, "b")]);
    let jobs = started(&hand);
    hand.settling(jobs[0].key);
    let dropped: Vec<_> =
        hand.drop_followers(jobs[0].key).into_iter().map(|(token, _)| token).collect();
    assert_eq!(dropped, [token(2), token(3)]);
    hand.remove(jobs);
    assert!(started(&hand).is_empty());
}

#[tokio::test]
async fn a_lost_delivery_that_comes_again_takes_over_what_runs() {
    let hand = hand(false);
    take(&hand, [delivery(1, "a"), delivery(2, "a")]);
    let running = hand.lock().start_next().unwrap();
    hand.lose(&[token(1), token(2)]);
    assert!(hand.is_lost(running.key));
    let again = |n, slot| {
        let mut again = delivery(n, "a");
        again.token = token(slot);
        again.redelivered = true;
        again
    };
    let offers = take(&hand, [again(1, 11), again(2, 12)]);
    assert_eq!(offers, [Offered::TakenOver, Offered::Taken], "2 had not begun");
    assert_eq!(hand.live_token(running.key), Some(token(11)));
}

#[tokio::test]
async fn a_later_epoch_makes_everything_of_an_earlier_one_stale() {
    let hand = hand(false);
    take(&hand, [delivery(1, "a"), delivery(2, "a")]);
    let running = hand.lock().start_next().unwrap();
    let mut later = delivery(3, "a");
    later.token.epoch = 1;
    take(&hand, [later]);
    assert!(hand.is_lost(running.key));
    assert_eq!(ids(&started(&hand)), ["3"], "2 will come again");
}

#[tokio::test]
async fn a_closing_hand_gives_back_what_has_not_begun_and_takes_nothing() {
    let hand = hand(true);
    take(&hand, [delivery(1, "a"), delivery(2, "a"), delivery(3, "b")]);
    let running = hand.lock().start_next().unwrap();
    let dropped: Vec<_> = hand.close().into_iter().map(|(token, _)| token).collect();
    assert_eq!(dropped, [token(2), token(3)]);
    assert_eq!(take(&hand, [delivery(4, "c")]), [Offered::Refused]);
    assert!(hand.next().await.is_none());
    assert!(hand.again(running).is_some(), "no further attempt begins");
}

/// The same message again, under another token.
fn offer(hand: &Hand, slot: u64) -> Offered {
    let mut delivery = delivery(1, "k");
    delivery.token = token(slot);
    delivery.redelivered = slot > 1;
    take(hand, [delivery]).remove(0)
}

async fn lost() -> (Hand, Job) {
    let hand = hand(false);
    assert_eq!(offer(&hand, 1), Offered::Taken);
    let job = hand.next().await.unwrap();
    hand.lose(&[token(1)]);
    (hand, job)
}

#[tokio::test]
async fn what_is_lost_can_be_forgotten() {
    let (hand, job) = lost().await;
    assert!(hand.forget(job, None).is_none());
    assert_eq!(hand.counts(), Counts::default());
}

#[tokio::test]
async fn what_came_back_meanwhile_is_not_forgotten() {
    let (hand, job) = lost().await;
    assert_eq!(offer(&hand, 2), Offered::TakenOver);
    let job = hand.forget(job, Some(token(1))).expect("it has a token to settle");
    assert_eq!(hand.live_token(job.key), Some(token(2)));
    assert!(hand.forget(job, Some(token(2))).is_none(), "unless that one is refused too");
}

#[tokio::test]
async fn what_is_revoked_while_it_runs_waits_for_nothing_any_more() {
    let hand = hand(false);
    offer(&hand, 1);
    let job = hand.next().await.unwrap();
    assert!(hand.revoke(&[token(1)]).is_empty());
    let job = hand.park(job, Instant::now()).expect("it is to be released");
    assert_eq!(hand.live_token(job.key), Some(token(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_never_wait_for_one_worker_while_another_is_idle() {
    let hand = Arc::new(hand(false));
    // Each worker keeps its job until the other one has got one too.
    let both = Arc::new(tokio::sync::Barrier::new(3));
    for _ in 0..2 {
        let (hand, both) = (Arc::clone(&hand), Arc::clone(&both));
        tokio::spawn(async move {
            while let Some(job) = hand.next().await {
                hand.wake_another();
                both.wait().await;
                hand.remove([job]);
            }
        });
    }
    let rounds = async {
        for n in 0..20_000 {
            take(&hand, [delivery(2 * n, "k"), delivery(2 * n + 1, "k")]);
            both.wait().await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, rounds).await.expect("both workers have a job");
}
