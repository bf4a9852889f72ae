//! A handler that gives its message back.

use polymq_core::{Context, HandlerError, Service};
use polymq_tests::bed::{Bed, Log, Order, depth, mailer, order, tally, until_handled};

/// Gives each message back as often as told, and handles it then.
fn giving_back(attempts: &Log<u32>, times: usize) -> Service<()> {
    let attempts = attempts.clone();
    Service::new(()).on("mailer", move |_: Order, context: Context<()>| {
        attempts.push(context.attempt());
        let enough = attempts.len() > times;
        async move { if enough { Ok(()) } else { Err(HandlerError::release("not now")) } }
    })
}

#[tokio::test(start_paused = true)]
async fn a_release_spends_no_attempt_and_the_message_comes_again() {
    let dedup = "dedup = { store = 'memory' }";
    for table in ["retry = { immediate = 0, delayed = 0 }", dedup] {
        let (bed, attempts) = (Bed::default(), Log::default());
        let running = bed.start(&mailer(table), giving_back(&attempts, 3)).await;
        running.publisher().publish("orders", &order(1)).await.unwrap();
        until_handled(&running, "mailer", 1).await;
        assert_eq!(attempts.all(), [1, 1, 1, 1]);
        let tally = tally(&running, "mailer");
        assert_eq!((tally.released, tally.retried, tally.dead_letters()), (3, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_acked_before_cannot_be_given_back() {
    let (bed, attempts) = (Bed::default(), Log::default());
    let running = bed.start(&mailer("ack = 'before'"), giving_back(&attempts, 1)).await;
    running.publisher().publish("orders", &order(1)).await.unwrap();
    polymq_tests::bed::until_dead(&running, "mailer", 1).await;
    assert_eq!((attempts.len(), depth(&running, "orders").await), (1, 0));
}
