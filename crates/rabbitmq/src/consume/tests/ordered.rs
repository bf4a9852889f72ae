use polymq_core::broker::{Consumer, Event};
use tokio::time::Instant;

use super::scene::{PATIENCE, Scene, ack, nothing_comes, receive, release, soon, text, texts};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_comes_again_in_order_and_what_else_is_in_hand_can_be_finished() {
    let scene = Scene::partitions(1).await;
    let consumer = scene.consumer(20).await;
    let mut events = consumer.events();
    scene.publish_main(0..6).await;
    let deliveries = receive(&consumer, 4).await;
    assert_eq!(texts(&deliveries), [0, 1, 2, 3]);
    release(&consumer, &deliveries[2..]).await;
    assert!(nothing_comes(&consumer).await, "later ones must not overtake what was released");
    ack(&consumer, &deliveries[..2]).await;
    let again = receive(&consumer, 4).await;
    assert_eq!(texts(&again), [2, 3, 4, 5]);
    assert!(events.try_recv().is_none(), "nobody lost anything");
    ack(&consumer, &again).await;
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_does_not_wait_for_ever_for_what_else_is_in_hand() {
    let scene = Scene::partitions(1).await;
    let consumer = scene.consumer(20).await;
    let mut events = consumer.events();
    scene.publish_main(0..3).await;
    let deliveries = receive(&consumer, 3).await;
    release(&consumer, &deliveries[1..]).await;
    let again = receive(&consumer, 3).await;
    assert_eq!(texts(&again), [0, 1, 2]);
    let lost = events.try_recv();
    assert!(matches!(lost, Some(Event::LeaseLost { tokens }) if tokens == [deliveries[0].token]));
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_releases_and_still_finishes_what_is_running() {
    let scene = Scene::partitions(1).await;
    let consumer = scene.consumer(20).await;
    let next = scene.consumer(20).await;
    scene.publish_main(0..4).await;
    let (consumer, next) = match tokio::time::timeout(PATIENCE / 10, consumer.recv(1)).await {
        Ok(_) => {
            // It was the active one; begin again with what it has.
            consumer.close(soon()).await.unwrap();
            (next, scene.consumer(20).await)
        }
        Err(_) => (next, consumer),
    };
    let deliveries = receive(&consumer, 4).await;
    consumer.pause();
    release(&consumer, &deliveries[1..]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    ack(&consumer, &deliveries[..1]).await;
    consumer.close(soon()).await.unwrap();
    assert_eq!(texts(&receive(&next, 3).await), [1, 2, 3]);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_changes_hands_in_order_when_its_consumer_closes_or_dies() {
    let scene = Scene::partitions(1).await;
    scene.publish_main(0..30).await;
    let mut consumers = vec![scene.consumer(10).await, scene.consumer(10).await];
    let mut next = 0;
    while next < 30 {
        let got = tokio::time::timeout(PATIENCE, first_to_get(&consumers)).await;
        let (index, deliveries) = got.expect("one of them has the partition");
        assert_eq!(texts(&deliveries)[0], next, "round of {next}");
        ack(&consumers[index], &deliveries[..1]).await;
        next += 1;
        let leaving = consumers.remove(index);
        if next % 2 == 0 {
            leaving.close(soon()).await.unwrap();
        }
        drop(leaving);
        consumers.push(scene.consumer(10).await);
    }
    scene.delete().await;
}

async fn first_to_get(
    consumers: &[super::super::RabbitmqConsumer],
) -> (usize, Vec<polymq_core::Delivery>) {
    let (a, b) = (consumers[0].recv(5), consumers[1].recv(5));
    tokio::select! {
        got = a => (0, got.unwrap()),
        got = b => (1, got.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_spread_evenly_over_consumers_that_join_and_leave() {
    const PARTITIONS: usize = 12;
    let scene = Scene::partitions(PARTITIONS).await;
    let mut consumers = Vec::new();
    let (mut even, mut spreads) = (0, Vec::new());
    for round in 0..6 {
        while consumers.len() < 3 {
            consumers.push(scene.consumer(PARTITIONS * 2).await);
        }
        for queue in &scene.group.queues {
            scene.publish(queue, [round]).await;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut counts = [0; 3];
        while counts.iter().sum::<usize>() < PARTITIONS {
            assert!(Instant::now() < deadline, "{counts:?}");
            for (count, consumer) in counts.iter_mut().zip(&consumers) {
                let Ok(got) = tokio::time::timeout(PATIENCE / 300, consumer.recv(PARTITIONS)).await
                else {
                    continue;
                };
                let got = got.unwrap();
                assert!(got.iter().all(|d| text(d) == round));
                *count += got.len();
                ack(consumer, &got).await;
            }
        }
        even += usize::from(counts.iter().all(|count| (2..=6).contains(count)));
        spreads.push(counts);
        consumers.remove(round as usize % 3).close(soon()).await.unwrap();
    }
    assert!(even >= 4, "{spreads:?}");
    scene.delete().await;
}
