use std::sync::Arc;

use tokio::time::Instant;

use super::{Hand, Job, Offered};
use crate::VirtualClock;
use crate::broker::Token;
use crate::model::{ChannelName, ConsumerName, Delivery, GroupName, Message};
use crate::service::Scope;

fn hand() -> Hand {
    with_lanes(false)
}

fn with_lanes(ordered: bool) -> Hand {
    let scope = Scope {
        consumer: ConsumerName::new("mailer").unwrap(),
        channel: ChannelName::new("orders").unwrap(),
        group: GroupName::new("orders").unwrap(),
        outputs: Vec::new(),
        clock: Arc::new(VirtualClock::default()),
    };
    Hand::new(ordered, Arc::new(scope))
}

fn token(slot: u64) -> Token {
    Token { consumer: 0, epoch: 0, slot, generation: 0 }
}

fn offer(hand: &Hand, slot: u64) -> Offered {
    let mut delivery = Delivery::new(Message::new("x").with_id("m").with_key("k"), token(slot));
    delivery.redelivered = slot > 1;
    let mut answer = None;
    hand.take_in(vec![delivery], Instant::now(), |offered, _| answer = Some(offered));
    answer.unwrap()
}

async fn lost() -> (Hand, Job) {
    let hand = hand();
    assert_eq!(offer(&hand, 1), Offered::Taken);
    let job = hand.next().await.unwrap();
    hand.lose(&[token(1)]);
    (hand, job)
}

#[tokio::test]
async fn what_is_lost_can_be_forgotten() {
    let (hand, job) = lost().await;
    assert!(hand.forget(job, None).is_none());
    assert_eq!(hand.counts(), super::Counts::default());
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
    let hand = hand();
    offer(&hand, 1);
    let job = hand.next().await.unwrap();
    assert!(hand.revoke(&[token(1)]).is_empty());
    let job = hand.park(job, Instant::now()).expect("it is to be released");
    assert_eq!(hand.live_token(job.key), Some(token(1)));
}

#[tokio::test]
async fn what_waits_behind_a_released_head_is_released_with_it() {
    let hand = with_lanes(true);
    for slot in 1..=3 {
        offer(&hand, slot);
    }
    let head = hand.next().await.unwrap();
    assert_eq!(hand.drop_behind(head.key), [token(2), token(3)]);
    hand.remove([head]);
    assert_eq!(hand.counts(), super::Counts::default());
}
