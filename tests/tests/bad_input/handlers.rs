//! Handlers that panic, hang, or publish what they must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use polymq_core::model::hop;
use polymq_core::{Context, DeadLetterReason, HandlerError, Service};
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, dead_letters, depth, hop as header, hop_number, mailer,
    order, queued, tally, until_dead, until_handled,
};

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_attempt_and_disturbs_no_other_message() {
    async fn handle(order: Order, _: Context<()>) -> Result<(), HandlerError> {
        assert!(order.n != 3, "order {} is cursed", order.n);
        Ok(())
    }
    let text = mailer("concurrency = 2\nretry = { immediate = 1, delayed = 1 }");
    let running = Bed::default().start(&text, Service::new(()).on("mailer", handle)).await;
    for n in 0..20 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 19).await;
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(dead.payload().unwrap().as_ref(), br#"{"n":3}"#);
    assert_eq!(hop_number(dead, hop::DEAD_LETTER_ATTEMPTS), 3);
    let error = header(dead, hop::DEAD_LETTER_ERROR);
    assert!(error.contains("panicked: order 3 is cursed"), "{error}");
    assert!(running.drain().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_of_a_closure_is_a_failed_attempt_too() {
    let service = Service::new(()).on("mailer", |order: Order, _: Context<()>| {
        assert!(order.n != 3, "cursed");
        async { Ok::<(), HandlerError>(()) }
    });
    let running = Bed::default().start(&mailer("retry = { delayed = 0 }"), service).await;
    running.publisher().publish("orders", &order(3)).await.unwrap();
    running.publisher().publish("orders", &order(4)).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    until_handled(&running, "mailer", 1).await;
}

#[tokio::test(start_paused = true)]
async fn panics_have_a_class_with_a_limit_of_its_own() {
    let calls = Arc::new(AtomicU32::new(0));
    let service = {
        let calls = Arc::clone(&calls);
        Service::new(()).on("mailer", move |_: Order, _: Context<()>| {
            calls.fetch_add(1, Ordering::Relaxed);
            async { panic!("always") }
        })
    };
    let text = mailer("retry = { immediate = 5, delayed = 5, limits = { panic = 2 } }");
    let running = Bed::default().start(&text, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_returns_ends_at_its_timeout() {
    let retried = Log::default();
    let service = {
        let retried = retried.clone();
        Service::new(())
            .on("mailer", |order: Order, ctx: Context<()>| async move {
                if order.n == 1 && ctx.attempt() == 1 {
                    std::future::pending::<()>().await;
                }
                Ok::<(), HandlerError>(())
            })
            .on_retry(move |r| {
                retried.push((r.class.clone(), r.error.clone()));
            })
    };
    let text = mailer("concurrency = 1\ntimeout = '5s'\nretry = { immediate = 1, delayed = 0 }");
    let running = Bed::default().start(&text, service).await;
    let begin = tokio::time::Instant::now();
    for n in [1, 2] {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_handled(&running, "mailer", 2).await;
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_millis(5100), "{took:?}");
    let [(class, error)] = &retried.all()[..] else { panic!("one") };
    assert_eq!(class, "timeout");
    assert!(error.contains("5s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_undeclared_output_dead_letters_the_input_and_says_what_to_add() {
    let service = Service::new(()).on("mailer", |order: Order, ctx: Context<()>| async move {
        ctx.publish("receipts", Receipt { n: order.n })?;
        ctx.publish("invoices", Receipt { n: order.n })
    });
    let running = Bed::default().start(MAILER, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), DeadLetterReason::OutputRejected.as_str());
    let error = header(dead, hop::DEAD_LETTER_ERROR);
    assert!(error.contains("`invoices` is not an output of this consumer"), "{error}");
    assert!(error.contains("add \"invoices\" to consumers.mailer.outputs"), "{error}");
    assert_eq!(queued(&running, "receipts").await, [], "a failed attempt publishes nothing");
    assert_eq!(tally(&running, "mailer").retried, 0, "trying again would not help");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_refused_for_good_dead_letters_its_input() {
    let service = Service::new(()).on("mailer", |_: Order, ctx: Context<()>| async move {
        let large = polymq_core::Message::new(vec![0; 2 << 20]);
        ctx.publish_message("receipts", large)
    });
    let running = Bed::default().start(MAILER, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "output-rejected");
    let error = header(dead, hop::DEAD_LETTER_ERROR);
    assert!(error.contains("receipts") && error.contains("limit"), "{error}");
    assert_eq!(depth(&running, "orders").await, 0);
}
