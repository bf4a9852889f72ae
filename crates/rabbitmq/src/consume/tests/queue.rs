use lapin::options::{BasicAckOptions, QueueDeleteOptions};
use polymq_core::broker::{Consumer, Event, Settlement};
use polymq_core::{ErrorKind, Origin};
use rand::seq::SliceRandom;

use super::scene::{
    PATIENCE, Scene, ack, event, nothing_comes, receive, release, settle, soon, text, texts,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acked_in_any_order_is_gone_and_the_channel_lives_on() {
    let scene = Scene::queue().await;
    let consumer = scene.consumer(200).await;
    for round in 0..5 {
        scene.publish_main(round * 200..(round + 1) * 200).await;
        let mut deliveries = receive(&consumer, 200).await;
        deliveries.shuffle(&mut rand::rng());
        for batch in deliveries.chunks(7) {
            ack(&consumer, batch).await;
        }
        assert_eq!(consumer.status().in_flight, 0);
    }
    assert!(consumer.status().attached, "an ack of a settled tag would have ended the channel");
    consumer.close(soon()).await.unwrap();
    assert!(scene.is_empty().await);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_settle_at_the_same_time_do_not_disturb_each_other() {
    let scene = Scene::queue().await;
    let consumer = std::sync::Arc::new(scene.consumer(400).await);
    scene.publish_main(0..2000).await;
    for _ in 0..5 {
        let mut deliveries = receive(&consumer, 400).await;
        deliveries.shuffle(&mut rand::rng());
        let mut calls = tokio::task::JoinSet::new();
        for batch in deliveries.chunks(9).map(<[_]>::to_vec) {
            let consumer = std::sync::Arc::clone(&consumer);
            calls.spawn(async move { ack(&consumer, &batch).await });
        }
        calls.join_all().await;
    }
    assert!(consumer.status().attached);
    consumer.close(soon()).await.unwrap();
    assert!(scene.is_empty().await);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_between_acks_comes_again_and_counts_no_crash() {
    let scene = Scene::queue().await;
    let consumer = scene.consumer(100).await;
    scene.publish_main(0..10).await;
    let deliveries = receive(&consumer, 10).await;
    assert!(deliveries.iter().all(|d| d.delivery_count == Some(1) && !d.redelivered));
    let mixed: Vec<_> = deliveries
        .iter()
        .map(|d| match text(d) % 2 {
            0 => (d.token, Settlement::Ack),
            _ => (d.token, Settlement::Release),
        })
        .collect();
    assert!(consumer.settle(&mixed, soon()).await.iter().all(Result::is_ok));
    let mut again = receive(&consumer, 5).await;
    again.sort_by_key(text);
    assert_eq!(texts(&again), [1, 3, 5, 7, 9]);
    assert!(again.iter().all(|d| d.redelivered));
    ack(&consumer, &again).await;
    consumer.close(soon()).await.unwrap();
    assert!(scene.is_empty().await);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sources_together_keep_within_the_prefetch_and_neither_starves() {
    let scene = Scene::queue().await;
    let inbox = scene.group.inbox.clone();
    scene.publish_main(0..200).await;
    scene.publish(&inbox, 1000..1100).await;
    let consumer = scene.consumer(10).await;
    let (mut seen, mut inbox_among_first) = (0, 0);
    while seen < 300 {
        let deliveries = receive(&consumer, 1).await;
        assert!(consumer.status().in_flight <= 10);
        for delivery in &deliveries {
            let from_inbox = delivery.origin == Origin::RetryInbox;
            assert_eq!(from_inbox, text(delivery) >= 1000);
            inbox_among_first += usize::from(from_inbox && seen < 100);
        }
        seen += deliveries.len();
        ack(&consumer, &deliveries).await;
    }
    assert!((20..=80).contains(&inbox_among_first), "{inbox_among_first} of 100");
    let consumer_b = scene.consumer(10).await;
    scene.publish_main(0..40).await;
    let held = receive(&consumer, 10).await;
    assert!(nothing_comes(&consumer).await);
    let room = receive(&consumer_b, 10).await;
    assert_eq!((held.len(), room.len()), (10, 10));
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_hands_nothing_out_and_a_resumed_one_goes_on() {
    let scene = Scene::queue().await;
    let consumer = scene.consumer(10).await;
    consumer.pause();
    scene.publish_main(0..5).await;
    assert!(nothing_comes(&consumer).await);
    assert_eq!((consumer.status().paused, consumer.status().buffered), (true, 5));
    consumer.resume();
    assert_eq!(texts(&receive(&consumer, 5).await), [0, 1, 2, 3, 4]);
    assert_eq!(consumer.status().buffered, 0);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_broker_ends_makes_tokens_stale_and_is_replaced() {
    let scene = Scene::queue().await;
    let consumer = scene.consumer(10).await;
    let mut events = consumer.events();
    scene.publish_main(0..3).await;
    let before = receive(&consumer, 3).await;
    let waiting = async { consumer.recv(10).await.unwrap() };
    let fault = async {
        let attachment = consumer.shared.lock().lanes[0].attachment.clone();
        let _ = attachment.channel.basic_ack(999, BasicAckOptions::default()).await;
    };
    let (mut after, ()) = tokio::join!(waiting, fault);
    let lost = event(&mut events, |event| match event {
        Event::LeaseLost { tokens } => Some(tokens),
        _ => None,
    });
    assert_eq!(lost.await, before.iter().map(|d| d.token).collect::<Vec<_>>());
    if after.len() < 3 {
        after.extend(receive(&consumer, 3 - after.len()).await);
    }
    assert_eq!(texts(&after), [0, 1, 2]);
    assert!(after.iter().all(|d| d.token.epoch > before[0].token.epoch && d.redelivered));
    assert!(after.iter().all(|d| d.delivery_count == Some(2)), "a lost channel counts");
    let stale = settle(&consumer, &before, Settlement::Ack).await;
    assert!(stale.iter().all(|kind| *kind == Some(ErrorKind::StaleToken)), "{stale:?}");
    let tokens: Vec<_> = before.iter().chain(&after).map(|d| d.token).collect();
    let extended = consumer.extend(&tokens, soon()).await;
    assert!(extended[..3].iter().all(Result::is_err) && extended[3..].iter().all(Result::is_ok));
    event(&mut events, |event| matches!(event, Event::Recreated { .. }).then_some(())).await;
    ack(&consumer, &after).await;
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_is_reported_and_consumed_again_when_it_is_back() {
    let scene = Scene::queue().await;
    let consumer = scene.consumer(10).await;
    let mut events = consumer.events();
    let queue = scene.group.queues[0].clone();
    let deleting = async {
        scene.channel.queue_delete(queue.clone(), QueueDeleteOptions::default()).await.unwrap();
    };
    let waiting = tokio::time::timeout(PATIENCE, consumer.recv(1));
    let (error, ()) = tokio::join!(waiting, deleting);
    let error = error.expect("an answer").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let lost = event(&mut events, |event| match event {
        Event::TopologyLost { object } => Some(object),
        _ => None,
    });
    assert_eq!(lost.await, queue.as_str());
    assert!(!consumer.status().attached && consumer.status().connected);
    scene.declare().await;
    scene.publish_main(0..1).await;
    assert_eq!(texts(&receive(&consumer, 1).await), [0]);
    assert!(consumer.status().attached);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_an_error_at_once() {
    let scene = Scene::queue().await;
    scene.delete().await;
    let error = scene.try_consumer(10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("topology apply"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_or_dropped_consumer_gives_back_what_is_unsettled() {
    let scene = Scene::queue().await;
    scene.publish_main(0..6).await;
    let closed = scene.consumer(10).await;
    let first = receive(&closed, 6).await;
    ack(&closed, &first[..2]).await;
    closed.close(soon()).await.unwrap();
    closed.close(soon()).await.unwrap();
    assert_eq!(closed.recv(1).await.unwrap_err().kind(), ErrorKind::Closed);
    let late = settle(&closed, &first[2..3], Settlement::Ack).await;
    assert_eq!(late, [Some(ErrorKind::StaleToken)]);
    let dropped = scene.consumer(10).await;
    assert_eq!(texts(&receive(&dropped, 4).await), [2, 3, 4, 5]);
    drop(dropped);
    let last = scene.consumer(10).await;
    assert_eq!(texts(&receive(&last, 4).await), [2, 3, 4, 5]);
    scene.delete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_nobody_waited_for_can_be_asked_for_again() {
    let scene = Scene::queue().await;
    let consumer = scene.consumer(10).await;
    scene.publish_main(0..2).await;
    let deliveries = receive(&consumer, 2).await;
    let settlements: Vec<_> = deliveries.iter().map(|d| (d.token, Settlement::Ack)).collect();
    let past = tokio::time::Instant::now();
    let unanswered = consumer.settle(&settlements, past).await;
    for (n, result) in unanswered.into_iter().enumerate() {
        // Written by then, or not: both may be. Only what is unknown may be settled again.
        let expected = match result {
            Ok(()) => Some(ErrorKind::StaleToken),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Timeout);
                None
            }
        };
        assert_eq!(settle(&consumer, &deliveries[n..=n], Settlement::Ack).await, [expected]);
        let third = settle(&consumer, &deliveries[n..=n], Settlement::Ack).await;
        assert_eq!(third, [Some(ErrorKind::StaleToken)]);
    }
    assert!(consumer.status().attached);
    release(&consumer, &[]).await;
    consumer.close(soon()).await.unwrap();
    assert!(scene.is_empty().await);
    scene.delete().await;
}
