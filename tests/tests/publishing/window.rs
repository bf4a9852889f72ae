//! How much may be unconfirmed at once.

use std::time::Duration;

use futures_util::FutureExt;
use polymq_core::broker::Outcome;
use polymq_core::config::WhenFull;
use polymq_core::{ErrorKind, Message};
use polymq_testkit::faults::PublishFault;
use polymq_tests::bed::{Bed, MAILER, Receipt, mailer, order, seconds};

use super::slow::start_slow;
use super::start;

#[tokio::test(start_paused = true)]
async fn the_window_bounds_what_is_unconfirmed_and_a_full_one_fails_if_told_to() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 4\ndeadline = '60s'\n");
    let running = start(&bed, &text).await;
    let silent = bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let publisher = running.publisher();
    let waiting: Vec<_> = (0..4)
        .map(|n| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish("orders", &order(n)).await })
        })
        .collect();
    seconds(1).await;
    assert_eq!(bed.faults.sends().len(), 4);
    let error = publisher.clone().when_full(WhenFull::Fail).publish("orders", &order(9)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.is_retryable());
    assert!(error.to_string().contains("4 messages are unconfirmed"), "{error}");
    assert!(error.to_string().contains("publish.window"), "{error}");
    silent.end();
    let begin = tokio::time::Instant::now();
    let blocked = publisher.clone().with_deadline(Duration::from_secs(120));
    blocked.publish("orders", &order(10)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(58), "it waited for room");
    for task in waiting {
        assert!(task.await.unwrap().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocked_publish_that_finds_no_room_is_rejected_at_its_deadline() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 1\ndeadline = '60s'\n");
    let running = start(&bed, &text).await;
    bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let publisher = running.publisher();
    let first = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish("orders", &order(1)).await }
    });
    seconds(1).await;
    let begin = tokio::time::Instant::now();
    let impatient = publisher.with_deadline(Duration::from_secs(5));
    let outcomes = impatient.publish_all("orders", [Message::new("x")]).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
    let [Outcome::Rejected(error)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(first.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_publish_gives_its_room_back_and_stops_nobody() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 2\n");
    let running = start_slow(&bed, &text).await;
    let publisher = running.publisher();
    for n in 0..50 {
        let (dropped, kept) = (order(n), order(n + 100));
        let mut first = Box::pin(publisher.publish("orders", &dropped));
        let mut second = Box::pin(publisher.publish("orders", &kept));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await.unwrap();
    }
    // All of the window is there again.
    seconds(1).await;
    let full = publisher.when_full(WhenFull::Fail);
    let outcomes =
        full.publish_all("orders", [Message::new("x"), Message::new("y")]).await.unwrap();
    assert!(outcomes.iter().all(Outcome::is_confirmed), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_window_of_a_broker() {
    let bed = Bed::default();
    let text = format!("{MAILER}[publish]\nwindow = 1\n");
    let running = start(&bed, &text).await;
    bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let (one, other) = (running.publisher(), running.publisher().when_full(WhenFull::Fail));
    let first = tokio::spawn(async move { one.publish("orders", &order(1)).await });
    seconds(1).await;
    let error = other.publish("receipts", &Receipt { n: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(first.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_batch_larger_than_the_window_goes_through() {
    let bed = Bed::default();
    let text = format!("{}[publish]\nwindow = 3\n", mailer(""));
    let running = start(&bed, &text).await;
    let batch = (0..10).map(|n| Message::of(&order(n)).unwrap());
    let outcomes = running.publisher().publish_all("orders", batch).await.unwrap();
    assert_eq!(outcomes.iter().filter(|o| o.is_confirmed()).count(), 10);
}
