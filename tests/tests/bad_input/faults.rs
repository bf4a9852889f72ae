//! What the service needs is away: its dead-letter channel, its deduplication store.

use std::time::Duration;

use polymq_core::broker::{Destination, Send};
use polymq_core::observe::metrics;
use polymq_core::{Context, ErrorKind, HandlerError, Service};
use polymq_testkit::faults::{Operation, PublishFault};
use polymq_tests::bed::{
    Bed, Log, Order, Receipt, dead_letters, delayed, depth, mailer, order, pass, queued, seconds,
    tally, until_dead, until_handled, until_state,
};
use polymq_tests::watch::{Metrics, Trace};
use tracing::Level;

fn to_dead_letter(send: &Send) -> bool {
    matches!(send.destination, Destination::DeadLetter(_))
}

fn to_inbox(send: &Send) -> bool {
    matches!(send.destination, Destination::RetryInbox { .. })
}

/// Refuses order 13, and counts its calls.
fn picky(calls: &Log<(u32, u32)>) -> Service<()> {
    let calls = calls.clone();
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        calls.push((order.n, ctx.attempt()));
        async move {
            if order.n == 13 {
                Err("unlucky").map_err(|e| HandlerError::from(e).permanent())?;
            }
            ctx.publish("receipts", Receipt { n: order.n })
        }
    })
}

async fn unreachable(fault: PublishFault) {
    let (metrics, _metrics) = Metrics::install();
    let (trace, _trace) = Trace::install();
    let (bed, calls) = (Bed::default(), Log::default());
    let away = bed.faults.fail_publish(to_dead_letter, fault);
    let running = bed.start(&mailer(""), picky(&calls)).await;
    running.publisher().publish("orders", &order(13)).await.unwrap();
    pass(Duration::from_secs(1)).await;
    for n in 0..10 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 10).await;
    seconds(600).await;
    assert_eq!(depth(&running, "orders").await, 1, "the original stays unsettled");
    assert_eq!(running.state("mailer").unwrap().settling, 1);
    assert!(metrics.sum(metrics::SEND_FAILURES, &[("polymq.consumer", "mailer")]) >= 1.0);
    let logged = trace.logged(Level::ERROR, "the original stays unsettled");
    assert!(!logged.is_empty(), "{:?}", trace.events.all());
    assert!(logged[0].fields["destination"].contains("orders-dead"), "{logged:?}");
    away.end();
    until_dead(&running, "mailer", 1).await;
    let ours = calls.all().iter().filter(|(n, _)| *n == 13).count();
    assert_eq!(ours, 1, "the handler did not run again");
    assert_eq!(depth(&running, "orders").await, 0);
    assert!(!dead_letters(&running, "orders-dead").await.is_empty());
    assert!(running.drain().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn while_the_dead_letter_channel_is_away_the_original_stays_unsettled_and_others_go_on() {
    unreachable(PublishFault::Rejected(ErrorKind::Disconnected)).await;
}

#[tokio::test(start_paused = true)]
async fn also_when_the_dead_letter_channel_does_not_exist() {
    unreachable(PublishFault::Rejected(ErrorKind::NotFound)).await;
}

#[tokio::test(start_paused = true)]
async fn also_when_its_broker_says_nothing() {
    unreachable(PublishFault::Silent).await;
}

#[tokio::test(start_paused = true)]
async fn also_when_confirmations_are_lost() {
    unreachable(PublishFault::Lost(ErrorKind::Timeout)).await;
}

#[tokio::test(start_paused = true)]
async fn also_where_sends_and_acks_are_one() {
    let (bed, calls) = (Bed::atomic(), Log::default());
    let running = bed.start(&mailer(""), picky(&calls)).await;
    let away = bed.faults.fail(Operation::Commit, ErrorKind::Disconnected);
    running.publisher().publish("orders", &order(13)).await.unwrap();
    seconds(600).await;
    assert_eq!(depth(&running, "orders").await, 1);
    away.end();
    until_dead(&running, "mailer", 1).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(dead_letters(&running, "orders-dead").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_ever_and_what_it_leaves_comes_again() {
    let (bed, calls) = (Bed::default(), Log::default());
    bed.faults.fail_publish(to_dead_letter, PublishFault::Rejected(ErrorKind::Disconnected));
    let running = bed.start(&mailer(""), picky(&calls)).await;
    running.publisher().publish("orders", &order(13)).await.unwrap();
    until_state(&running, "mailer", "settling", |s| s.settling == 1).await;
    let begin = tokio::time::Instant::now();
    let report = running.drain().await;
    assert!(begin.elapsed() <= Duration::from_secs(31), "{:?}", begin.elapsed());
    assert_eq!(report.consumers[0].unsettled.len(), 1, "{report}");
    assert!(!report.is_clean());
    let running = bed.another_process().start(&mailer(""), picky(&calls)).await;
    until_dead(&running, "mailer", 1).await;
    assert_eq!(calls.len(), 2);
}

const PAUSE: &str = "dedup = { store = 'shared', on_store_failure = 'pause' }\n\
                     retry = { delayed = 2, base = '1s', jitter = 'none' }";
const PASS: &str = "dedup = { store = 'shared', on_store_failure = 'pass' }\n\
                    retry = { delayed = 2, base = '1s', jitter = 'none' }";

#[tokio::test(start_paused = true)]
async fn under_pause_nothing_is_handled_until_the_store_answers_and_nothing_is_lost() {
    let (metrics, _guard) = Metrics::install();
    let (bed, calls) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let away = bed.faults.fail(Operation::Claim, ErrorKind::Store);
    let running = bed.start_with(&store, &mailer(PAUSE), picky(&calls)).await;
    for n in 0..10 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    seconds(300).await;
    assert!(calls.is_empty(), "nothing is handled");
    assert_eq!(depth(&running, "orders").await, 10, "nothing is acked");
    assert!(metrics.sum(metrics::DEDUP_FAILURES, &[]) >= 1.0);
    away.end();
    until_handled(&running, "mailer", 10).await;
    let mut all = calls.all();
    all.sort_unstable();
    assert_eq!(all, (0..10).map(|n| (n, 1)).collect::<Vec<_>>(), "no attempt was spent");
}

#[tokio::test(start_paused = true)]
async fn under_pass_messages_are_handled_without_deduplication_and_it_is_counted() {
    let (metrics, _guard) = Metrics::install();
    let (bed, calls) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    bed.faults.fail(Operation::Claim, ErrorKind::Store);
    let running = bed.start_with(&store, &mailer(PASS), picky(&calls)).await;
    for n in [1, 13] {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 1).await;
    until_dead(&running, "mailer", 1).await;
    assert!(metrics.sum(metrics::DEDUP_FAILURES, &[]) >= 2.0);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn under_pause_a_commit_that_fails_delays_the_ack_and_repeats_neither_handler_nor_output() {
    let (bed, calls) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let running = bed.start_with(&store, &mailer(PAUSE), picky(&calls)).await;
    let away = bed.faults.fail(Operation::CommitClaim, ErrorKind::Store);
    running.publisher().publish("orders", &order(1)).await.unwrap();
    seconds(300).await;
    assert_eq!(depth(&running, "orders").await, 1, "not acked");
    away.end();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(calls.all(), [(1, 1)]);
    assert_eq!(queued(&running, "receipts").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn under_pass_a_commit_that_fails_stops_nothing() {
    let (bed, calls) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let running = bed.start_with(&store, &mailer(PASS), picky(&calls)).await;
    for operation in [Operation::CommitClaim, Operation::Renew, Operation::HandOver] {
        bed.faults.fail(operation, ErrorKind::Store);
    }
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn under_pause_outputs_wait_for_a_store_that_cannot_renew() {
    let (bed, calls) = (Bed::default(), Log::default());
    let store = bed.empty_store();
    let running = bed.start_with(&store, &mailer(PAUSE), picky(&calls)).await;
    let away = bed.faults.fail(Operation::Renew, ErrorKind::Store);
    running.publisher().publish("orders", &order(1)).await.unwrap();
    seconds(20).await;
    assert_eq!(queued(&running, "receipts").await, []);
    away.end();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(calls.all(), [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_copy_that_is_refused_is_tried_again_while_the_original_stays() {
    let bed = Bed::default();
    let calls = Log::default();
    let service = {
        let calls = calls.clone();
        Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
            calls.push(ctx.attempt());
            let attempt = ctx.attempt();
            async move { if attempt == 1 { Err("once".into()) } else { Ok(()) } }
        })
    };
    let text = mailer("retry = { immediate = 0, delayed = 2, base = '1s', jitter = 'none' }");
    let running = bed.start(&text, service).await;
    let away = bed.faults.fail_publish(to_inbox, PublishFault::Rejected(ErrorKind::Disconnected));
    running.publisher().publish("orders", &order(1)).await.unwrap();
    seconds(60).await;
    assert_eq!(calls.all(), [1]);
    assert_eq!(depth(&running, "orders").await, 1);
    assert!(delayed(&running, "orders").await.is_empty());
    away.end();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(calls.all(), [1, 2]);
    assert_eq!(tally(&running, "mailer").retried, 1);
}
