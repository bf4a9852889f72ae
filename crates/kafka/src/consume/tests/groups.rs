use std::collections::HashSet;
use std::time::Duration;

use polymq_core::ErrorKind;
use polymq_core::broker::{Consumer, Event, Settlement};

use super::scene::{
    PATIENCE, Scene, ack, event, nothing_comes, receive, release, settle, soon, text, texts, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_waits_for_what_is_in_hand_and_nothing_comes_twice() {
    let scene = Scene::new(4).await;
    for partition in 0..4u32 {
        scene.publish(partition as i32, partition * 10..partition * 10 + 5);
    }
    let first = scene.consumer(100).await;
    let mut events = first.events();
    let deliveries = receive(&first, 20).await;
    let joining = scene.consumer(100);
    let leaving = async {
        let (tokens, partitions) = event(&mut events, |event| match event {
            Event::Revoked { tokens, partitions, .. } => Some((tokens, partitions)),
            _ => None,
        })
        .await;
        assert_eq!(tokens.len(), partitions.len() * 5, "{partitions:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        // What is not concerned goes on meanwhile, and what is can still be settled.
        ack(&first, &deliveries).await;
        partitions
    };
    let (second, partitions) = tokio::join!(joining, leaving);
    assert!(!partitions.is_empty(), "{partitions:?}");
    assert!(nothing_comes(&second).await);
    until("all is committed", async || scene.total().await == 20).await;
    for partition in 0..4 {
        scene.publish(partition, [100 + partition as u32]);
    }
    let (one, two) =
        tokio::join!(receive(&first, 4 - partitions.len()), receive(&second, partitions.len()));
    let all: HashSet<_> = one.iter().chain(&two).map(text).collect();
    assert_eq!(all.len(), 4);
    first.close(soon()).await.unwrap();
    second.close(soon()).await.unwrap();
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_waits_no_longer_than_it_may_and_tokens_are_stale_after_it() {
    let scene = Scene::new(2).await;
    scene.publish(0, 0..2);
    scene.publish(1, 10..12);
    let first = scene.consumer_with(100, |t| t.revoke_timeout.0 = Duration::from_secs(1)).await;
    let mut events = first.events();
    let deliveries = receive(&first, 4).await;
    let second = scene.consumer(100).await;
    let lost = event(&mut events, |event| match event {
        Event::LeaseLost { tokens } => Some(tokens),
        _ => None,
    })
    .await;
    assert!(!lost.is_empty());
    let again = receive(&second, lost.len()).await;
    let late = settle(&first, &deliveries, Settlement::Ack).await;
    for (delivery, result) in deliveries.iter().zip(late) {
        let is_lost = lost.contains(&delivery.token);
        assert_eq!(is_lost, texts(&again).contains(&text(delivery)));
        assert_eq!(result, is_lost.then_some(ErrorKind::StaleToken));
    }
    drop((first, second));
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_lets_a_revoked_delivery_go() {
    let scene = Scene::new(2).await;
    scene.publish(0, 0..2);
    scene.publish(1, 10..12);
    let first = scene.consumer(100).await;
    let mut events = first.events();
    let deliveries = receive(&first, 4).await;
    let joining = scene.consumer(100);
    let leaving = async {
        let tokens = event(&mut events, |event| match event {
            Event::Revoked { tokens, .. } => Some(tokens),
            _ => None,
        })
        .await;
        let gone: Vec<_> =
            deliveries.iter().filter(|d| tokens.contains(&d.token)).cloned().collect();
        release(&first, &gone).await;
        gone
    };
    let (second, gone) = tokio::join!(joining, leaving);
    let again = receive(&second, gone.len()).await;
    for half in [0..2, 10..12] {
        let of = |all: &[polymq_core::Delivery]| {
            texts(all).into_iter().filter(|t| half.contains(t)).collect::<Vec<_>>()
        };
        assert_eq!(of(&again), of(&gone), "each partition in order");
    }
    assert!(again.iter().all(|d| d.delivery_count == Some(1)), "no crash: {again:?}");
    assert!(nothing_comes(&first).await, "what went is not handed out here");
    drop((first, second));
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_consumers_than_partitions_all_attach() {
    let scene = Scene::new(1).await;
    let mut consumers = Vec::new();
    for _ in 0..22 {
        consumers.push(scene.consumer(10).await);
        assert!(consumers.iter().all(|consumer| consumer.status().connected));
    }
    assert!(consumers.iter().all(|consumer| consumer.status().attached));
    drop(consumers);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_that_end_in_a_crash_are_counted_until_there_is_progress() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..5);
    for start in 1..=3 {
        let consumer = scene.consumer(10).await;
        let deliveries = receive(&consumer, 1).await;
        let counts: Vec<_> = deliveries.iter().map(|d| d.delivery_count).collect();
        assert_eq!(counts, [Some(start)]);
        assert_eq!(deliveries[0].redelivered, start > 1);
        // Dropped: as by a crash.
    }
    let consumer = scene.consumer(10).await;
    for text in 0..5 {
        let deliveries = receive(&consumer, 1).await;
        assert_eq!(texts(&deliveries), [text]);
        assert_eq!(deliveries[0].delivery_count, Some(if text == 0 { 4 } else { 1 }));
        let more = tokio::time::timeout(Duration::from_millis(100), consumer.recv(10)).await;
        assert!(more.is_err(), "one by one, to find out which one it is");
        ack(&consumer, &deliveries).await;
    }
    consumer.close(soon()).await.unwrap();
    assert_eq!(scene.committed(&scene.group.topic, 0).await, (Some(5), String::new()));
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_ends_in_good_order_is_not_counted() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..5);
    drop(receive(&scene.consumer(10).await, 5).await);
    for _ in 0..3 {
        let consumer = scene.consumer(10).await;
        let deliveries = receive(&consumer, 5).await;
        assert_eq!(deliveries[0].delivery_count, Some(2));
        release(&consumer, &deliveries).await;
        consumer.close(soon()).await.unwrap();
    }
    for _ in 0..3 {
        // Nothing was handed out of it.
        drop(scene.consumer(10).await);
    }
    let consumer = scene.consumer(10).await;
    assert_eq!(receive(&consumer, 1).await[0].delivery_count, Some(2));
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_kafka_has_forgotten_is_refused_with_the_way_out() {
    let scene = Scene::without_offsets(3).await;
    let refused = scene.try_consumer(10).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.help().is_some_and(|help| help.contains("polymq seek")), "{refused:?}");
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_newer_than_the_group_starts_at_its_beginning() {
    let scene = Scene::without_offsets(3).await;
    scene.commit(&scene.group.topic, [(1, 0, "")]).await;
    scene.publish(2, [7]);
    let consumer = scene.consumer(10).await;
    assert_eq!(texts(&receive(&consumer, 1).await), [7]);
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_before_it_was_handled_is_an_error_and_other_partitions_go_on() {
    let scene = Scene::new(2).await;
    scene.publish(0, 0..10);
    scene.publish(1, 10..12);
    scene.remove_below(&scene.group.topic, 0, 5).await;
    let consumer = scene.consumer(10).await;
    let mut seen = Vec::new();
    let error = loop {
        match tokio::time::timeout(PATIENCE, consumer.recv(10)).await.unwrap() {
            Ok(deliveries) => seen.extend(texts(&deliveries)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let said = format!("{error} {:?}", error.help());
    for part in [&scene.group.topic, "offset 0", "partition 0", "begins at 5", "polymq seek"] {
        assert!(said.contains(part), "{said}");
    }
    let left = receive(&consumer, 2 - seen.len()).await;
    seen.extend(texts(&left));
    assert_eq!(seen, [10, 11]);
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_refused_by_name() {
    let scene = Scene::new(1).await;
    scene.delete_topic(&scene.group.inbox).await;
    let refused = scene.try_consumer(10).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains(&*scene.group.inbox), "{refused}");
    scene.delete_topic(&scene.group.topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_is_told_and_read_from_its_beginning_when_it_is_back() {
    let scene = Scene::new(1).await;
    scene.publish(0, 0..3);
    let consumer = scene.consumer(10).await;
    let mut events = consumer.events();
    let deliveries = receive(&consumer, 3).await;
    ack(&consumer, &deliveries).await;
    scene.delete_topic(&scene.group.topic).await;
    let error = tokio::time::timeout(PATIENCE, consumer.recv(1)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let object = event(&mut events, |event| match event {
        Event::TopologyLost { object } => Some(object),
        _ => None,
    })
    .await;
    assert_eq!(object, *scene.group.topic);
    scene.create_topic().await;
    scene.publish(0, [7]);
    let delivery = loop {
        match tokio::time::timeout(PATIENCE, consumer.recv(1)).await.expect("it goes on") {
            Ok(mut deliveries) => break deliveries.remove(0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
    };
    assert_eq!(text(&delivery), 7);
    drop(consumer);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_without_brokers_says_so_by_the_deadline() {
    let scene = Scene::new(1).await;
    let nowhere = scene.at("kafka://127.0.0.1:1");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
    let wanted = nowhere.wanted(10, Scene::table());
    let refused = crate::consume::KafkaConsumer::attach(wanted, deadline).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Disconnected, "{refused}");
    assert!(refused.is_retryable());
    scene.delete().await;
}
