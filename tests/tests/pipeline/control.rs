//! Ack before handling, pause and resume, middleware.

use async_trait::async_trait;
use polymq_core::model::hop;
use polymq_core::{Call, Context, HandlerError, Middleware, Next, ResultExt, Service};
use polymq_testkit::faults::Operation;
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, dead_letters, depth, hop as header, mailer, order, queued,
    seconds, tally, until_dead, until_handled, until_state,
};

const BEFORE: &str = "ack = 'before'\nretry = { immediate = 3, delayed = 3 }";

fn counting(calls: &Log<u32>, outcome: fn(u32) -> Result<(), HandlerError>) -> Service<()> {
    let calls = calls.clone();
    Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
        calls.push(order.n);
        async move { outcome(order.n) }
    })
}

#[tokio::test(start_paused = true)]
async fn acked_before_a_failure_is_dead_lettered_and_never_retried() {
    for bed in [Bed::default(), Bed::atomic()] {
        let calls = Log::default();
        let service = counting(&calls, |n| if n == 1 { Err("no".into()) } else { Ok(()) });
        let running = bed.start(&mailer(BEFORE), service).await;
        for n in [1, 2] {
            running.publisher().publish("orders", &order(n)).await.unwrap();
        }
        until_dead(&running, "mailer", 1).await;
        until_handled(&running, "mailer", 1).await;
        let mut all = calls.all();
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
        assert_eq!(dead.payload().unwrap().as_ref(), br#"{"n":1}"#);
        assert_eq!(header(dead, hop::DEAD_LETTER_ERROR), "no");
        assert_eq!(tally(&running, "mailer").retried, 0);
        assert!(running.drain().await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn acked_before_a_crash_loses_what_was_with_its_handler_and_nothing_else() {
    let (bed, calls) = (Bed::default(), Log::default());
    let service = {
        let calls = calls.clone();
        Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
            calls.push(order.n);
            std::future::pending::<Result<(), HandlerError>>()
        })
    };
    let text = mailer(&format!("{BEFORE}\nconcurrency = 2\ntimeout = '1h'"));
    let running = bed.start(&text, service).await;
    for n in 0..5 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    until_state(&running, "mailer", "running", |s| s.running == 2).await;
    seconds(1).await;
    drop(running);
    let running = bed.another_process().start(&text, counting(&calls, |_| Ok(()))).await;
    until_handled(&running, "mailer", 3).await;
    seconds(120).await;
    let mut all = calls.all();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4], "at most once");
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_could_not_be_acked_before_is_not_handled() {
    let (bed, calls) = (Bed::default(), Log::default());
    let running = bed.start(&mailer(BEFORE), counting(&calls, |_| Ok(()))).await;
    bed.faults.fail(Operation::Settle, polymq_core::ErrorKind::Disconnected).times(1);
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(depth(&running, "orders").await, 0);
}

#[tokio::test(start_paused = true)]
async fn outputs_are_published_where_acks_come_before_too() {
    let service = Service::new(()).on("mailer", |order: Order, ctx: Context<()>| async move {
        ctx.publish("receipts", Receipt { n: order.n })
    });
    let running = Bed::default().start(&mailer(BEFORE), service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(queued(&running, "receipts").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_consumer_takes_nothing_in_until_it_is_resumed() {
    let (bed, calls) = (Bed::default(), Log::default());
    let running = bed.start(MAILER, counting(&calls, |_| Ok(()))).await;
    running.pause("mailer").unwrap();
    running.pause("mailer").unwrap();
    for n in 0..10 {
        running.publisher().publish("orders", &order(n)).await.unwrap();
    }
    seconds(3600).await;
    assert!(calls.is_empty());
    let state = running.state("mailer").unwrap();
    assert!(state.paused && state.broker.paused);
    running.resume("mailer").unwrap();
    until_handled(&running, "mailer", 10).await;
    assert!(!running.state("mailer").unwrap().paused);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_is_finished_while_paused() {
    let bed = Bed::default();
    let service = Service::new(()).on("mailer", |_: Order, _: Context<()>| async {
        seconds(10).await;
        Ok::<(), HandlerError>(())
    });
    let running = bed.start(MAILER, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_state(&running, "mailer", "running", |s| s.running == 1).await;
    running.pause("mailer").unwrap();
    until_handled(&running, "mailer", 1).await;
    assert!(running.drain().await.is_clean(), "a paused consumer can be drained");
}

#[tokio::test(start_paused = true)]
async fn pausing_a_consumer_that_does_not_run_is_an_error() {
    let running = Bed::default().start(MAILER, Service::new(())).await;
    let error = running.pause("mailer").unwrap_err();
    assert_eq!(error.kind(), polymq_core::ErrorKind::NotFound);
}

/// Logs when it is entered and left.
struct Named(&'static str, Log<String>);

#[async_trait]
impl Middleware<()> for Named {
    async fn handle(&self, call: Call<'_, ()>, next: Next<'_, ()>) -> Result<(), HandlerError> {
        self.1.push(format!("{} in {}", self.0, call.contexts[0].attempt()));
        let result = next.run().await;
        self.1.push(format!("{} out {}", self.0, if result.is_ok() { "ok" } else { "failed" }));
        result
    }
}

/// Answers instead of the handler.
struct Gatekeeper;

#[async_trait]
impl Middleware<()> for Gatekeeper {
    async fn handle(&self, call: Call<'_, ()>, next: Next<'_, ()>) -> Result<(), HandlerError> {
        match call.contexts[0].headers().get_str("user") {
            Some("root") => next.run().await,
            Some("nobody") => Ok(()),
            _ => Err("not authorised").permanent(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn middleware_wraps_every_attempt_the_first_one_outermost() {
    let log = Log::default();
    let handled = log.clone();
    let service = Service::new(())
        .layer(Named("outer", log.clone()))
        .layer(Named("inner", log.clone()))
        .on("mailer", move |_: Order, ctx: Context<()>| {
            handled.push("handler".to_owned());
            let attempt = ctx.attempt();
            async move { if attempt == 1 { Err("once".into()) } else { Ok(()) } }
        });
    let running = Bed::default().start(&mailer("retry = { immediate = 1 }"), service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(
        log.all(),
        [
            "outer in 1",
            "inner in 1",
            "handler",
            "inner out failed",
            "outer out failed",
            "outer in 2",
            "inner in 2",
            "handler",
            "inner out ok",
            "outer out ok",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn middleware_can_answer_instead_of_the_handler() {
    let calls = Log::default();
    let service = counting(&calls, |_| Ok(())).layer(Gatekeeper);
    let running = Bed::default().start(MAILER, service).await;
    for (n, user) in [(1, "root"), (2, "nobody"), (3, "mallory")] {
        let message = polymq_core::Message::of(&order(n)).unwrap().with_header("user", user);
        running.publisher().publish_message("orders", message).await.unwrap();
    }
    until_handled(&running, "mailer", 2).await;
    until_dead(&running, "mailer", 1).await;
    assert_eq!(calls.all(), [1]);
    assert_eq!(tally(&running, "mailer").dead_lettered["permanent"], 1);
}

#[tokio::test(start_paused = true)]
async fn middleware_runs_inside_the_attempts_timeout_and_its_panics_are_caught() {
    struct Odd;
    #[async_trait]
    impl Middleware<()> for Odd {
        async fn handle(&self, call: Call<'_, ()>, next: Next<'_, ()>) -> Result<(), HandlerError> {
            match call.contexts[0].attempt() {
                1 => std::future::pending().await,
                2 => panic!("in middleware"),
                _ => next.run().await,
            }
        }
    }
    let calls = Log::default();
    let service = counting(&calls, |_| Ok(())).layer(Odd);
    let text = mailer("timeout = '3s'\nretry = { immediate = 2 }");
    let running = Bed::default().start(&text, service).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(calls.len(), 1);
}
