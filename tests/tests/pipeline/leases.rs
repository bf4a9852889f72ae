//! Leases: extended while work goes on, and taken over when they were lost all the same.

use std::time::Duration;

use polymq_core::memory::MemoryOptions;
use polymq_core::{Context, ErrorKind, Service};
use polymq_testkit::faults::Operation;
use polymq_tests::bed::{
    Bed, Log, Order, Receipt, depth, mailer, order, pass, queued, seconds, tally, until_handled,
    until_state,
};

const LEASE: Duration = Duration::from_secs(30);

/// Takes this many seconds, then publishes a receipt.
fn slow(each: u64, started: &Log<u32>) -> Service<()> {
    let started = started.clone();
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        started.push(ctx.attempt());
        async move {
            seconds(each).await;
            ctx.publish("receipts", Receipt { n: order.n })
        }
    })
}

#[tokio::test(start_paused = true)]
async fn work_that_takes_three_leases_is_not_redelivered() {
    for more in ["timeout = '10m'", "timeout = '10m'\ndedup = { store = 'memory', lease = '20s' }"]
    {
        let (bed, started) = (Bed::default(), Log::default());
        let text = mailer(more);
        let first = bed.start(&text, slow(100, &started)).await;
        first.publisher().publish("orders", &order(1)).await.unwrap();
        until_state(&first, "mailer", "running", |s| s.running == 1).await;
        // Somebody who would get it at once.
        let second = bed.another_process().start(&text, slow(0, &started)).await;
        until_handled(&first, "mailer", 1).await;
        assert_eq!(started.len(), 1);
        assert_eq!(tally(&second, "mailer").received, 0);
        assert_eq!(tally(&first, "mailer").stale, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_hand_keeps_its_lease_too() {
    let (bed, started) = (Bed::default(), Log::default());
    let text = mailer("timeout = '10m'\nconcurrency = 1");
    let first = bed.start(&text, slow(40, &started)).await;
    for n in 0..5 {
        first.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&first, "mailer", "in hand", |s| s.waiting == 4).await;
    let second = bed.another_process().start(&text, slow(0, &started)).await;
    until_handled(&first, "mailer", 5).await;
    assert_eq!(tally(&second, "mailer").received, 0);
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_what_still_runs_here_takes_over_its_outcome() {
    let (bed, started) = (Bed::default(), Log::default());
    let running = bed.start(&mailer("timeout = '10m'"), slow(200, &started)).await;
    let failing = bed.faults.fail(Operation::Extend, ErrorKind::Disconnected);
    running.publisher().publish("orders", &order(1)).await.unwrap();
    pass(LEASE * 2).await;
    failing.end();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(started.all(), [1], "one execution");
    assert!(tally(&running, "mailer").received >= 2, "{:?}", tally(&running, "mailer"));
    assert_eq!(depth(&running, "orders").await, 0, "acked under the new token");
    assert_eq!(queued(&running, "receipts").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_begun_when_its_lease_was_lost_is_forgotten_and_comes_again() {
    let (bed, started) = (Bed::default(), Log::default());
    let running = bed.start(&mailer("timeout = '10m'\nconcurrency = 1"), slow(50, &started)).await;
    let failing = bed.faults.fail(Operation::Extend, ErrorKind::Disconnected);
    for n in 0..4 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    pass(LEASE + LEASE / 2).await;
    failing.end();
    until_handled(&running, "mailer", 4).await;
    assert_eq!(started.len(), 4);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_extended_up_to_max_lease_and_then_it_is_reported() {
    let (bed, started) = (Bed::default(), Log::default());
    let text = mailer("timeout = '2m'\nmax_lease = '2m'\nretry = { immediate = 0, delayed = 0 }");
    let running = bed.start(&text, slow(119, &started)).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(running.state("mailer").unwrap().stuck, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_lost_to_another_process_ends_without_an_ack_of_its_own() {
    let (bed, started) = (Bed::default(), Log::default());
    let text = mailer("timeout = '10m'");
    let first = bed.start(&text, slow(100, &started)).await;
    bed.faults.fail(Operation::Extend, ErrorKind::Disconnected);
    first.publisher().publish("orders", &order(1)).await.unwrap();
    until_state(&first, "mailer", "running", |s| s.running == 1).await;
    first.pause("mailer").unwrap();
    let second = bed.another_process().start(&text, slow(100, &started)).await;
    until_handled(&second, "mailer", 1).await;
    seconds(200).await;
    assert_eq!(tally(&first, "mailer").handled, 0, "it was not its to ack");
    assert_eq!(tally(&second, "mailer").handled, 1);
    assert_eq!(first.state("mailer").unwrap().settling, 0, "nothing is held for ever");
    assert_eq!(depth(&second, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_short_lease_of_the_broker_is_kept_as_well() {
    let lease = Duration::from_secs(3);
    let (bed, started) = (Bed::with(MemoryOptions::default().with_lease(lease)), Log::default());
    let running = bed.start(&mailer(""), slow(20, &started)).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(tally(&running, "mailer").received, 1);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_whose_answer_is_lost_is_made_again() {
    let (bed, started) = (Bed::default(), Log::default());
    let running = bed.start(&mailer(""), slow(0, &started)).await;
    bed.faults.fail(Operation::Settle, ErrorKind::Disconnected).times(5);
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(started.len(), 1);
    assert_eq!(depth(&running, "orders").await, 0);
}
