use std::time::Duration;

use polymq_core::broker::{Consumer, Settlement};
use polymq_core::{ErrorKind, Origin};
use rand::seq::SliceRandom;

use crate::config::BrokerTable;

use super::scene::{
    PATIENCE, Scene, ack, nothing_comes, receive, release, settle, soon, text, texts, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acked_in_any_order_is_committed_and_gone() {
    let scene = Scene::new(3).await;
    let consumer = scene.consumer(100).await;
    for round in 0..3u32 {
        for partition in 0..3u32 {
            let first = round * 300 + partition * 100;
            scene.publish(partition as i32, first..first + 100);
        }
        let mut left = 300;
        while left > 0 {
            let mut deliveries = receive(&consumer, left.min(100)).await;
            left -= deliveries.len();
            deliveries.shuffle(&mut rand::rng());
            for batch in deliveries.chunks(7) {
                ack(&consumer, batch).await;
            }
        }
        assert_eq!(consumer.status().in_flight, 0);
    }
    until("everything is committed", async || scene.total().await == 900).await;
    consumer.close(soon()).await.unwrap();
    let consumer = scene.consumer(100).await;
    assert!(nothing_comes(&consumer).await);
    consumer.close(soon()).await.unwrap();
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_never_passes_what_is_not_done() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..10);
    let consumer = scene.consumer(100).await;
    let deliveries = receive(&consumer, 10).await;
    let (first, rest) = deliveries.split_at(4);
    ack(&consumer, &rest[1..]).await;
    ack(&consumer, first).await;
    let topic = &scene.group.topic;
    until("4 are committed", async || scene.committed(topic, 0).await.0 == Some(4)).await;
    consumer.close(soon()).await.unwrap();
    let consumer = scene.consumer(100).await;
    assert_eq!(texts(&receive(&consumer, 6).await), [4, 5, 6, 7, 8, 9]);
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_comes_again_in_order_and_its_old_tokens_are_stale() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..6);
    let consumer = scene.consumer(100).await;
    let deliveries = receive(&consumer, 6).await;
    assert!(deliveries.iter().all(|d| d.delivery_count == Some(1) && !d.redelivered));
    let mixed: Vec<_> = deliveries
        .iter()
        .rev()
        .map(|d| match text(d) % 2 {
            0 => (d.token, Settlement::Ack),
            _ => (d.token, Settlement::Release),
        })
        .collect();
    assert!(consumer.settle(&mixed, soon()).await.iter().all(Result::is_ok));
    let again = receive(&consumer, 3).await;
    assert_eq!(texts(&again), [1, 3, 5]);
    assert!(again.iter().all(|d| d.redelivered));
    let late = settle(&consumer, &deliveries, Settlement::Ack).await;
    assert!(late.iter().all(|kind| *kind == Some(ErrorKind::StaleToken)), "{late:?}");
    let tokens: Vec<_> = again.iter().chain(&deliveries).map(|d| d.token).collect();
    let extended = consumer.extend(&tokens, soon()).await;
    assert!(extended[..3].iter().all(Result::is_ok) && extended[3..].iter().all(Result::is_err));
    ack(&consumer, &again).await;
    consumer.close(soon()).await.unwrap();
    assert_eq!(scene.committed(&scene.group.topic, 0).await, (Some(6), String::new()));
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sources_together_keep_within_the_prefetch_and_neither_starves() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..100);
    let now = polymq_core::system_clock().now();
    for text in 1000..1050 {
        scene.publish_inbox(0, text, now);
    }
    let consumer = scene.consumer(10).await;
    until("both are at hand", async || consumer.status().buffered >= 60).await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let deliveries = receive(&consumer, 10).await;
        assert_eq!(consumer.status().in_flight, 10);
        assert!(nothing_comes_at_once(&consumer).await);
        seen.extend(deliveries.iter().map(|d| d.origin));
        ack(&consumer, &deliveries).await;
    }
    let retries = seen.iter().filter(|origin| **origin == Origin::RetryInbox).count();
    assert!((30..=70).contains(&retries), "{retries} of 100");
    drop(consumer);
    scene.delete().await;
}

async fn nothing_comes_at_once(consumer: &crate::consume::KafkaConsumer) -> bool {
    let moment = Duration::from_millis(20);
    tokio::time::timeout(moment, consumer.recv(1)).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_not_asked_keeps_its_buffer_within_bounds_and_its_membership() {
    let scene = Scene::new(2).await;
    scene.publish(0, 0..1000);
    scene.publish(1, 1000..2000);
    let consumer = scene.consumer(10).await;
    until("the buffer is full", async || consumer.status().buffered >= 64).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(consumer.status().buffered < 400, "{:?}", consumer.status());
    let mut all = Vec::new();
    while all.len() < 2000 {
        let deliveries = receive(&consumer, 10.min(2000 - all.len())).await;
        ack(&consumer, &deliveries).await;
        all.extend(texts(&deliveries));
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..2000), "each once");
    consumer.close(soon()).await.unwrap();
    assert_eq!(scene.total().await, 2000);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_hands_nothing_out_and_goes_on_where_it_was() {
    let scene = Scene::new(1).await;
    let consumer = scene.consumer(10).await;
    consumer.pause();
    consumer.pause();
    scene.publish(0, 0..5);
    assert!(nothing_comes(&consumer).await);
    assert!(consumer.status().paused);
    consumer.resume();
    let deliveries = receive(&consumer, 5).await;
    consumer.pause();
    ack(&consumer, &deliveries).await;
    let topic = &scene.group.topic;
    until("acks count", async || scene.committed(topic, 0).await.0 == Some(5)).await;
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_commits_and_ends_receiving() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..5);
    let slowly = |table: &mut BrokerTable| table.commit_interval.0 = Duration::from_secs(60);
    let consumer = scene.consumer_with(10, slowly).await;
    let deliveries = receive(&consumer, 5).await;
    ack(&consumer, &deliveries[..3]).await;
    let begun = std::time::Instant::now();
    consumer.close(soon()).await.unwrap();
    assert!(begun.elapsed() < PATIENCE / 4, "{:?}", begun.elapsed());
    assert_eq!(scene.committed(&scene.group.topic, 0).await.0, Some(3));
    assert_eq!(consumer.recv(1).await.unwrap_err().kind(), ErrorKind::Closed);
    let late = settle(&consumer, &deliveries[3..], Settlement::Ack).await;
    assert_eq!(late, [Some(ErrorKind::StaleToken); 2]);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_uncommitted_message_allowed_each_is_committed_before_the_next() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..5);
    let consumer = scene.consumer_with(10, |table| table.max_uncommitted = 1).await;
    for text in 0..5 {
        let deliveries = receive(&consumer, 1).await;
        assert_eq!(texts(&deliveries), [text]);
        let committed = scene.committed(&scene.group.topic, 0).await.0;
        assert_eq!(committed, Some(i64::from(text)));
        assert!(nothing_comes_at_once(&consumer).await);
        ack(&consumer, &deliveries).await;
    }
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_on_a_dead_letter_topic_is_seen_by_nobody_and_counts_as_done() {
    let mut scene = Scene::new(1).await;
    scene.group.is_dead_letter = true;
    scene.publish_removal(0);
    scene.publish(0, [7]);
    scene.publish_removal(0);
    let consumer = scene.consumer(10).await;
    let deliveries = receive(&consumer, 1).await;
    assert_eq!(texts(&deliveries), [7]);
    assert!(nothing_comes(&consumer).await);
    ack(&consumer, &deliveries).await;
    let topic = &scene.group.topic;
    until("all is done", async || scene.committed(topic, 0).await.0 == Some(3)).await;
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_of_a_closed_partition_do_no_harm() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..3);
    let consumer = scene.consumer(10).await;
    let deliveries = receive(&consumer, 3).await;
    release(&consumer, &deliveries[1..]).await;
    ack(&consumer, &deliveries[..1]).await;
    consumer.close(soon()).await.unwrap();
    assert_eq!(scene.committed(&scene.group.topic, 0).await, (Some(1), String::new()));
    scene.delete().await;
}
