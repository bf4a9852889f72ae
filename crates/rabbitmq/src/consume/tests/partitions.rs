//! How the consumers of a group share its partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use polymq_core::broker::{Consumer, Event};
use tokio::time::{Instant, sleep};

use super::relay::Relay;
use super::scene::{PATIENCE, Scene, event, link, receive, texts};
use super::worker::{Journal, STEP, Worker};

const COUNT: u32 = 12;
const PREFETCH: usize = 32;
const WORK: Duration = Duration::from_millis(1);

/// How long it takes to share them anew: a turn of each side, and another one where two claimed the same.
const SHARING: Duration = Duration::from_secs(5);

async fn eventually(what: &str, within: Duration, holds: impl Fn() -> Result<(), String>) {
    let begun = Instant::now();
    while let Err(state) = holds() {
        assert!(begun.elapsed() < within, "{what}, within {within:?}: {state}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until each partition is with one of these, and each of these has as many.
async fn shared_evenly(workers: &[Worker]) {
    eventually("all partitions are shared evenly", SHARING, || {
        let held: Vec<_> = workers.iter().map(Worker::partitions).collect();
        let all: BTreeSet<_> = held.iter().flatten().collect();
        let is_even = held.iter().all(|h| h.len() == COUNT as usize / workers.len());
        if all.len() == COUNT as usize && is_even { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}

async fn publish(scene: &Scene, numbers: std::ops::Range<u32>) {
    for partition in 0..COUNT {
        let texts = numbers.clone().map(|n| partition * STEP + n);
        scene.publish(&scene.group.queues[partition as usize], texts).await;
    }
}

async fn all_are_acked(journal: &Journal, count: u32) {
    let wanted = (count * COUNT) as usize;
    eventually("all are acked", PATIENCE, || match journal.acked() {
        acked if acked == wanted => Ok(()),
        acked => Err(format!("{acked} of {wanted}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_follow_consumers_that_join_and_leave_and_nothing_comes_again() {
    let scene = Scene::partitions(COUNT as usize).await;
    let journal = Arc::new(Journal::default());
    let join = async || Worker::start(scene.consumer(PREFETCH).await, &journal, WORK);
    let mut workers = vec![join().await];
    shared_evenly(&workers).await;
    publish(&scene, 0..150).await;
    workers.push(join().await);
    workers.push(join().await);
    shared_evenly(&workers).await;
    publish(&scene, 150..300).await;
    workers.remove(0).leave().await;
    shared_evenly(&workers).await;
    publish(&scene, 300..400).await;
    all_are_acked(&journal, 400).await;
    journal.assert_ordered(COUNT, 0);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vanished_consumer_had_goes_to_the_others() {
    let scene = Scene::partitions(COUNT as usize).await;
    let journal = Arc::new(Journal::default());
    let relay = Relay::open(&scene.url).await;
    let link = link(relay.url()).await;
    let vanishing = scene.consumer_on(&link, PREFETCH).await.unwrap();
    let vanishing = Worker::start(vanishing, &journal, WORK);
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.push(Worker::start(scene.consumer(PREFETCH).await, &journal, WORK));
    }
    sleep(SHARING).await;
    publish(&scene, 0..50).await;
    drop(relay);
    shared_evenly(&workers).await;
    publish(&scene, 50..100).await;
    all_are_acked(&journal, 100).await;
    journal.assert_ordered(COUNT, PREFETCH);
    drop(vanishing);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stuck_when_a_consumer_vanishes_while_it_gives_partitions_up() {
    let scene = Scene::partitions(COUNT as usize).await;
    let journal = Arc::new(Journal::default());
    let relay = Relay::open(&scene.url).await;
    let link = link(relay.url()).await;
    let vanishing = scene.consumer_on(&link, 200).await.unwrap();
    publish(&scene, 0..20).await;
    let mut events = vanishing.events();
    let in_hand = receive(&vanishing, 150).await;
    let workers = [
        Worker::start(scene.consumer(PREFETCH).await, &journal, WORK),
        Worker::start(scene.consumer(PREFETCH).await, &journal, WORK),
    ];
    let mut revoked = 0;
    while revoked < 8 {
        let next = event(&mut events, |event| match event {
            Event::Revoked { tokens, partitions, .. } => Some((tokens, partitions)),
            _ => None,
        });
        let (tokens, partitions) = next.await;
        assert!(tokens.iter().all(|token| in_hand.iter().any(|d| d.token == *token)));
        revoked += partitions.len();
    }
    assert_eq!(journal.acked(), 0, "what is in hand is nobody else's");
    drop(relay);
    shared_evenly(&workers).await;
    all_are_acked(&journal, 20).await;
    journal.assert_ordered(COUNT, 0);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_given_up_when_nothing_of_it_is_in_hand_and_the_others_go_on() {
    let scene = Scene::partitions(2).await;
    let consumer = scene.consumer(20).await;
    scene.publish(&scene.group.queues[0], 0..2).await;
    scene.publish(&scene.group.queues[1], 10..12).await;
    let in_hand = receive(&consumer, 4).await;
    let next = scene.consumer(20).await;
    let mut events = consumer.events();
    let revoked = event(&mut events, |event| match event {
        Event::Revoked { partitions, .. } => Some(partitions),
        _ => None,
    });
    let given_up = revoked.await[0];
    let first = |partition| if partition == 0 { 0 } else { 10 };
    let (going, staying) = (first(given_up), first(1 - given_up));
    scene.publish(&scene.group.queues[given_up as usize], going + 2..going + 4).await;
    scene.publish(&scene.group.queues[1 - given_up as usize], staying + 2..staying + 4).await;
    assert_eq!(texts(&receive(&consumer, 2).await), [staying + 2, staying + 3]);
    let of_going = |d: &&polymq_core::Delivery| super::scene::text(d) / 10 == going / 10;
    let of_going: Vec<_> = in_hand.iter().filter(of_going).cloned().collect();
    super::scene::ack(&consumer, &of_going).await;
    assert_eq!(texts(&receive(&next, 2).await), [going + 2, going + 3]);
    scene.delete().await;
}
