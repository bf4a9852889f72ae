use polymq_core::broker::{Consumer, Event};

use super::scene::{Scene, ack, nothing_comes, receive, release, soon, texts};

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
    assert!(!matches!(events.try_recv(), Some(Event::LeaseLost { .. })), "nobody lost anything");
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
    let deliveries = receive(&consumer, 4).await;
    consumer.pause();
    release(&consumer, &deliveries[1..]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    ack(&consumer, &deliveries[..1]).await;
    consumer.close(soon()).await.unwrap();
    assert_eq!(texts(&receive(&next, 3).await), [1, 2, 3]);
    scene.delete().await;
}
