//! Many tasks share few calls, and a lone publish waits for nobody.

use std::time::Duration;

use polymq_core::Publisher;
use polymq_testkit::faults::Operation;
use polymq_tests::bed::{Bed, MAILER, order, queued};

use super::slow::{self, start_slow};

/// Publishes from this many tasks at once, and waits for all.
async fn publish_from_tasks(publisher: &Publisher, tasks: u32) {
    let tasks: Vec<_> = (0..tasks)
        .map(|n| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish("orders", &order(n)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn many_tasks_that_publish_at_once_share_few_calls() {
    let bed = Bed::default();
    let running = start_slow(&bed, MAILER).await;
    let begin = tokio::time::Instant::now();
    publish_from_tasks(&running.publisher(), 1000).await;
    let calls = bed.faults.calls(Operation::Publish);
    assert!(calls <= 10, "{calls} calls for 1000 messages");
    assert!(begin.elapsed() <= slow::TAKES * 4, "{:?}", begin.elapsed());
    assert_eq!(queued(&running, "orders").await.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_lone_publish_is_not_delayed() {
    let bed = Bed::default();
    let running = start_slow(&bed, MAILER).await;
    for n in 0..10 {
        let begin = tokio::time::Instant::now();
        running.publisher().publish("orders", &order(n)).await.unwrap();
        assert_eq!(begin.elapsed(), slow::TAKES, "the broker's own time and nothing more");
    }
    assert_eq!(bed.faults.calls(Operation::Publish), 10);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_meets_others_in_flight_waits_five_milliseconds_at_most() {
    let bed = Bed::default();
    let running = start_slow(&bed, MAILER).await;
    let publisher = running.publisher();
    let first = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish("orders", &order(1)).await }
    });
    tokio::task::yield_now().await;
    let begin = tokio::time::Instant::now();
    publisher.publish("orders", &order(2)).await.unwrap();
    assert!(begin.elapsed() <= slow::TAKES + Duration::from_millis(6), "{:?}", begin.elapsed());
    first.await.unwrap().unwrap();
}
