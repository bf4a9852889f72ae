//! Drain: what runs finishes, what waits goes back, and nothing handled stays unacked.

use std::time::Duration;

use polymq_core::{Context, HandlerError, Service};
use polymq_testkit::faults::Operation;
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, depth, mailer, order, queued, seconds, until_handled,
    until_state,
};

/// Takes `seconds` per order, then publishes a receipt.
fn slow(each: u64, started: &Log<u32>) -> Service<()> {
    let started = started.clone();
    Service::new(()).on("mailer", move |order: Order, ctx: Context<()>| {
        started.push(order.n);
        async move {
            seconds(each).await;
            ctx.publish("receipts", Receipt { n: order.n })
        }
    })
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_finished_with_outputs_and_acks_and_what_waits_is_given_back() {
    for bed in [Bed::default(), Bed::atomic()] {
        let started = Log::default();
        let running = bed.start(&mailer("concurrency = 4"), slow(10, &started)).await;
        for n in 0..20 {
            running.publisher().publish("orders", &order(n)).await.unwrap();
        }
        until_state(&running, "mailer", "running", |s| s.running == 4).await;
        let begin = tokio::time::Instant::now();
        let report = running.drain().await;
        assert!(begin.elapsed() <= Duration::from_secs(11), "{:?}", begin.elapsed());
        assert!(report.is_clean(), "{report}");
        assert_eq!(started.len(), 4, "nothing is begun during a drain");
        let tally = &report.consumers[0].tally;
        assert_eq!((tally.handled, tally.outputs, tally.released), (4, 4, 16), "{report}");
        let after = bed.another_process().start(MAILER, Service::new(())).await;
        assert_eq!(queued(&after, "receipts").await.len(), 4);
        assert_eq!(queued(&after, "orders").await.len(), 16);
        assert_eq!(depth(&after, "orders").await, 16, "and nothing else");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_back_is_at_hand_at_once_and_no_attempt_was_spent() {
    let (bed, started) = (Bed::default(), Log::default());
    let running = bed.start(&mailer("concurrency = 1"), slow(5, &started)).await;
    for n in 0..5 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&running, "mailer", "running", |s| s.running == 1).await;
    running.drain().await;
    let attempts = Log::default();
    let service = {
        let attempts = attempts.clone();
        Service::new(()).on("mailer", move |_: Order, ctx: Context<()>| {
            attempts.push((ctx.attempt(), ctx.delivery().delivery_count));
            async { Ok::<(), HandlerError>(()) }
        })
    };
    let begin = tokio::time::Instant::now();
    let running = bed.another_process().start(&mailer(""), service).await;
    until_handled(&running, "mailer", 4).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "no lease was waited for");
    assert!(attempts.all().iter().all(|(attempt, _)| *attempt == 1), "{:?}", attempts.all());
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_runs_is_cancelled_named_and_comes_again() {
    let (bed, started) = (Bed::default(), Log::default());
    let text = format!("drain_timeout = '5s'\n{}", mailer("timeout = '1h'"));
    let running = bed.start(&text, slow(600, &started)).await;
    let message = polymq_core::Message::of(&order(7)).unwrap().with_id("seven");
    running.publisher().publish_message("orders", message).await.unwrap();
    until_state(&running, "mailer", "running", |s| s.running == 1).await;
    let begin = tokio::time::Instant::now();
    let report = running.drain().await;
    assert!(begin.elapsed() >= Duration::from_secs(5));
    assert!(begin.elapsed() <= Duration::from_secs(6), "{:?}", begin.elapsed());
    assert!(!report.is_clean());
    let [cancelled] = &report.consumers[0].cancelled[..] else { panic!("{report}") };
    assert_eq!(cancelled.as_ref().unwrap(), &"seven");
    assert!(report.to_string().contains("seven"), "{report}");
    assert_eq!(report.stuck(), 0);
    let begin = tokio::time::Instant::now();
    let running = bed.another_process().start(MAILER, slow(0, &started)).await;
    until_handled(&running, "mailer", 1).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "given back, not left to its lease");
}

#[tokio::test(start_paused = true)]
async fn a_drain_by_an_earlier_deadline_keeps_it() {
    let (bed, started) = (Bed::default(), Log::default());
    let running = bed.start(&mailer(""), slow(20, &started)).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_state(&running, "mailer", "running", |s| s.running == 1).await;
    let begin = tokio::time::Instant::now();
    let report = running.drain_by(begin + Duration::from_secs(2)).await;
    assert!(begin.elapsed() <= Duration::from_secs(3));
    assert_eq!(report.consumers[0].cancelled.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_during_a_drain_is_retried_later_and_not_lost() {
    for retry in ["immediate = 3, delayed = 0", "immediate = 0, delayed = 3, base = '1s'"] {
        let (bed, calls) = (Bed::default(), Log::default());
        let service = || {
            let calls = calls.clone();
            Service::new(()).on("mailer", move |_: Order, _: Context<()>| {
                let first = calls.push(()) == 1;
                async move {
                    seconds(5).await;
                    if first { Err("once".into()) } else { Ok(()) }
                }
            })
        };
        let text = mailer(&format!("retry = {{ {retry} }}"));
        let running = bed.start(&text, service()).await;
        running.publisher().publish("orders", &order(1)).await.unwrap();
        until_state(&running, "mailer", "running", |s| s.running == 1).await;
        let report = running.drain().await;
        assert!(report.is_clean(), "{report}");
        let running = bed.another_process().start(&text, service()).await;
        until_handled(&running, "mailer", 1).await;
        assert_eq!(calls.len(), 2);
        assert_eq!(depth(&running, "orders").await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_drain_the_publisher_is_closed() {
    let running = Bed::default().start(MAILER, slow(0, &Log::default())).await;
    let publisher = running.publisher();
    assert!(running.drain().await.is_clean());
    let error = publisher.publish("orders", &order(1)).await.unwrap_err();
    assert_eq!(error.kind(), polymq_core::ErrorKind::Closed, "{error}");
}

#[tokio::test(start_paused = true)]
async fn publishes_in_flight_are_flushed_by_a_drain() {
    let bed = Bed::default();
    let running = bed.start(MAILER, Service::new(())).await;
    let publisher = running.publisher();
    let publishing: Vec<_> = (0..100)
        .map(|n| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish("orders", &order(n)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(running.drain().await.is_clean());
    let mut confirmed = 0;
    for task in publishing {
        confirmed += usize::from(task.await.unwrap().is_ok());
    }
    let after = bed.another_process().start(MAILER, Service::new(())).await;
    assert_eq!(queued(&after, "orders").await.len(), confirmed, "what was confirmed is there");
}

#[tokio::test(start_paused = true)]
async fn every_handled_message_is_acked_before_a_clean_exit() {
    for pause in [0, 1, 3, 7, 20, 50] {
        let (bed, started) = (Bed::default(), Log::default());
        let running = bed.start(&mailer("concurrency = 3"), slow(0, &started)).await;
        for n in 0..100 {
            running.publisher().publish("orders", &order(n)).await.unwrap();
            if n == pause {
                tokio::task::yield_now().await;
            }
        }
        let report = running.drain().await;
        assert!(report.is_clean(), "{report}");
        let handled = report.consumers[0].tally.handled;
        assert_eq!(started.len() as u64, handled);
        assert!(bed.faults.calls(Operation::Settle) > 0 || handled == 0);
        let after = bed.another_process().start(MAILER, Service::new(())).await;
        assert_eq!(depth(&after, "orders").await, 100 - handled);
    }
}
