use std::time::Duration;

use polymq_core::Origin;
use polymq_core::broker::Consumer;

use super::scene::{Scene, ack, nothing_comes, receive, soon, text, texts, until};

fn now() -> polymq_core::Timestamp {
    polymq_core::system_clock().now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_held_back_until_its_release_and_not_much_longer() {
    let scene = Scene::new(1).await;
    let consumer = scene.consumer(10).await;
    let release = now() + Duration::from_millis(1_500);
    scene.publish_inbox(4, 1, release);
    scene.publish_inbox(4, 2, release + Duration::from_millis(500));
    for (text, late) in [(1, 0), (2, 500)] {
        let delivery = receive(&consumer, 1).await.remove(0);
        let release = release + Duration::from_millis(late);
        assert!(now() >= release, "early");
        assert!(now() < release + Duration::from_millis(300), "late: {:?}", now());
        assert_eq!(self::text(&delivery), text);
        assert_eq!(delivery.origin, Origin::RetryInbox);
        assert_eq!(delivery.position.map(|p| p.partition), Some(4));
        ack(&consumer, &[delivery]).await;
    }
    consumer.close(soon()).await.unwrap();
    assert_eq!(scene.committed(&scene.group.inbox, 4).await.0, Some(2));
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_waits_holds_up_neither_others_nor_the_channel() {
    let scene = Scene::new(1).await;
    let later = now() + Duration::from_secs(600);
    for text in 0..500 {
        scene.put_inbox(10, text, later);
    }
    scene.publish_inbox(0, 1000, now());
    scene.publish(0, 2000..2100);
    let consumer = scene.consumer(20).await;
    until("all are at hand", async || consumer.status().buffered >= 129).await;
    let mut all = Vec::new();
    while all.len() < 101 {
        let deliveries = receive(&consumer, 1).await;
        ack(&consumer, &deliveries).await;
        all.extend(texts(&deliveries));
    }
    assert!(all[..40].contains(&1000), "the retry came among the first");
    assert!(nothing_comes(&consumer).await);
    assert!(consumer.status().buffered <= 128, "{:?}", consumer.status());
    consumer.close(soon()).await.unwrap();
    assert_eq!(scene.committed(&scene.group.inbox, 10).await.0.unwrap_or(0), 0);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_earlier_overtakes_within_a_tier() {
    let scene = Scene::new(1).await;
    scene.publish_inbox(3, 1, now() + Duration::from_secs(600));
    scene.publish_inbox(3, 2, now());
    let consumer = scene.consumer(10).await;
    let deliveries = receive(&consumer, 1).await;
    assert_eq!(texts(&deliveries), [2]);
    ack(&consumer, &deliveries).await;
    consumer.close(soon()).await.unwrap();
    let committed = scene.committed(&scene.group.inbox, 3).await.0;
    assert_eq!(committed.unwrap_or(0), 0, "the first is not done");
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_retries_that_are_due_at_once_all_come() {
    let scene = Scene::new(1).await;
    let release = now() + Duration::from_secs(2);
    for text in 0..600 {
        scene.put_inbox(5, text, release);
    }
    scene.flush();
    let consumer = scene.consumer(50).await;
    let mut all = Vec::new();
    while all.len() < 600 {
        let deliveries = receive(&consumer, 1).await;
        assert!(now() >= release);
        ack(&consumer, &deliveries).await;
        all.extend(texts(&deliveries));
    }
    assert!(all.iter().copied().eq(0..600), "{all:?}");
    until("all are done", async || scene.committed(&scene.group.inbox, 5).await.0 == Some(600))
        .await;
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_was_purged_goes_on_behind_the_purge() {
    let scene = Scene::new(1).await;
    for text in 0..10 {
        scene.put_inbox(2, text, now());
    }
    scene.flush();
    let inbox = scene.group.inbox.clone();
    scene.remove_below(&inbox, 2, 7).await;
    scene.commit(&inbox, [(2, 3, "")]).await;
    let consumer = scene.consumer(10).await;
    assert_eq!(texts(&receive(&consumer, 3).await), [7, 8, 9]);
    drop(consumer);
    scene.delete().await;
}
