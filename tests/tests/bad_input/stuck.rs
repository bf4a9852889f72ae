//! A handler that never yields, which nothing can cancel. Real threads and real time, so deadlines are
//! short and nothing is asserted to be fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use polymq_core::memory::MemoryOptions;
use polymq_core::{Context, HandlerError, Message, Service};
use polymq_tests::bed::{Bed, Order, mailer, order, pass, until_handled, until_state};

/// Ends the handler with the test, however the test ends: the runtime waits for its threads.
#[derive(Default)]
struct Blocker(Arc<AtomicBool>);

impl Drop for Blocker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_never_yields_stops_no_other_message_and_is_reported_stuck() {
    let (blocker, calls) = (Blocker::default(), Arc::new(AtomicU32::new(0)));
    let service = {
        let (ended, calls) = (Arc::clone(&blocker.0), Arc::clone(&calls));
        Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
            let (ended, calls) = (Arc::clone(&ended), Arc::clone(&calls));
            async move {
                if order.n == 0 {
                    calls.fetch_add(1, Ordering::Relaxed);
                    while !ended.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                }
                Ok::<(), HandlerError>(())
            }
        })
    };
    let lease = Duration::from_millis(300);
    let bed = Bed::with(MemoryOptions::default().with_lease(lease));
    let text = mailer("timeout = '200ms'\nmax_lease = '500ms'\nconcurrency = 4");
    let running = bed.start(&format!("drain_timeout = '1s'\n{text}"), service).await;
    let patience = Duration::from_secs(60);
    let all = async {
        for n in 0..200 {
            running.publisher().publish("orders", &order(n)).await.unwrap();
        }
        until_handled(&running, "mailer", 199).await;
        until_state(&running, "mailer", "stuck", |s| s.stuck == 1).await;
        // Beyond its lease the broker hands it out again; it is not run beside itself.
        pass(lease * 3).await;
    };
    tokio::time::timeout(patience, all).await.expect("the others go on");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let drained = tokio::time::timeout(patience, running.drain()).await;
    let report = drained.expect("drain returns although the handler doesn't");
    assert_eq!((report.stuck(), calls.load(Ordering::Relaxed)), (1, 1), "{report}");
    assert!(!report.is_clean());
    assert!(report.to_string().contains("never yielded"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_handled_before_it_on_the_same_worker_is_settled_all_the_same() {
    let blocker = Blocker::default();
    let service = {
        let ended = Arc::clone(&blocker.0);
        Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
            let ended = Arc::clone(&ended);
            async move {
                match order.n {
                    0 => pass(Duration::from_millis(300)).await,
                    2 => {
                        while !ended.load(Ordering::Relaxed) {
                            std::thread::yield_now();
                        }
                    }
                    _ => {}
                }
                Ok::<(), HandlerError>(())
            }
        })
    };
    let bed = Bed::default();
    let text = format!("drain_timeout = '1s'\n{}", mailer("concurrency = 2"));
    let running = bed.start(&text, service).await;
    // One worker waits with order 0; the other one handles order 1, then blocks with order 2.
    let orders = (0..3).map(|n| Message::of(&order(n)).unwrap());
    running.publisher().publish_all("orders", orders).await.unwrap();
    pass(Duration::from_millis(100)).await;
    running.publisher().publish("orders", &order(3)).await.unwrap();
    let others = until_handled(&running, "mailer", 3);
    tokio::time::timeout(Duration::from_secs(20), others).await.expect("three were settled");
}
