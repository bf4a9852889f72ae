//! Messages of types that no handler takes, and what goes to which handler.

use polymq_core::model::hop;
use polymq_core::{Context, HandlerError, Message, Service};
use polymq_tests::bed::{
    Bed, Log, MAILER, Order, Receipt, dead_letters, depth, hop as header, hop_number, mailer,
    order, tally, until_dead, until_handled, until_state,
};

fn orders(seen: &Log<String>) -> Service<()> {
    let seen = seen.clone();
    Service::new(()).on("mailer", move |order: Order, _: Context<()>| {
        seen.push(format!("order {}", order.n));
        async { Ok::<(), HandlerError>(()) }
    })
}

fn with_receipts(seen: &Log<String>) -> Service<()> {
    let log = seen.clone();
    orders(seen).on("mailer", move |receipt: Receipt, _: Context<()>| {
        log.push(format!("receipt {}", receipt.n));
        async { Ok::<(), HandlerError>(()) }
    })
}

fn with_raw(service: Service<()>, seen: &Log<String>) -> Service<()> {
    let seen = seen.clone();
    service.on("mailer", move |message: Message, _: Context<()>| {
        seen.push(format!("raw {}", message.message_type().unwrap_or("untyped")));
        async { Ok::<(), HandlerError>(()) }
    })
}

fn stranger() -> Message {
    Message::new("{}").with_type("stranger").with_id("s")
}

#[tokio::test(start_paused = true)]
async fn an_unknown_type_is_dead_lettered_at_once_unless_told_otherwise() {
    let seen = Log::default();
    let running = Bed::default().start(MAILER, orders(&seen)).await;
    running.publisher().publish_message("orders", stranger()).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "unknown-type");
    assert!(header(dead, hop::DEAD_LETTER_ERROR).contains("`stranger`"));
    assert_eq!(tally(&running, "mailer").retried, 0);
    assert!(seen.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_type_can_be_ignored_and_is_counted() {
    let running =
        Bed::default().start(&mailer("unknown_type = 'ignore'"), orders(&Log::default())).await;
    running.publisher().publish_message("orders", stranger()).await.unwrap();
    until_state(&running, "mailer", "ignored", |s| s.tally.ignored == 1).await;
    assert_eq!(dead_letters(&running, "orders-dead").await, []);
    assert_eq!(depth(&running, "orders").await, 0, "acked");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_type_can_be_a_failure_that_a_newer_release_of_the_service_handles() {
    let (bed, seen) = (Bed::default(), Log::default());
    let text = mailer(
        "unknown_type = 'fail'\nretry = { immediate = 0, delayed = 3, base = '60s', jitter = 'none' }",
    );
    let running = bed.start(&text, orders(&seen)).await;
    running.publisher().publish("orders", &Receipt { n: 7 }).await.unwrap();
    until_state(&running, "mailer", "retried", |s| s.tally.retried == 1).await;
    assert!(running.drain().await.is_clean());
    let running = bed.start(&text, with_receipts(&seen)).await;
    until_handled(&running, "mailer", 1).await;
    assert_eq!(seen.all(), ["receipt 7"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_type_that_keeps_failing_ends_as_a_dead_letter() {
    let text = mailer("unknown_type = 'fail'\nretry = { immediate = 1, delayed = 1 }");
    let running = Bed::default().start(&text, orders(&Log::default())).await;
    running.publisher().publish_message("orders", stranger()).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    let [dead] = &dead_letters(&running, "orders-dead").await[..] else { panic!("one") };
    assert_eq!(header(dead, hop::DEAD_LETTER_REASON), "retries-exhausted");
    assert_eq!(hop_number(dead, hop::DEAD_LETTER_ATTEMPTS), 3);
}

#[tokio::test(start_paused = true)]
async fn each_type_has_its_handler_and_the_raw_one_takes_the_rest() {
    let seen = Log::default();
    let service = with_raw(with_receipts(&seen), &seen);
    let running = Bed::default().start(MAILER, service).await;
    let publisher = running.publisher();
    publisher.publish("orders", &order(1)).await.unwrap();
    publisher.publish("orders", &Receipt { n: 2 }).await.unwrap();
    publisher.publish_message("orders", stranger()).await.unwrap();
    publisher.publish_message("orders", Message::new("x")).await.unwrap();
    until_handled(&running, "mailer", 4).await;
    let mut all = seen.all();
    all.sort();
    assert_eq!(all, ["order 1", "raw stranger", "raw untyped", "receipt 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_type_goes_to_the_only_handler() {
    let seen = Log::default();
    let running = Bed::default().start(MAILER, orders(&seen)).await;
    running.publisher().publish_message("orders", Message::new("{\"n\":5}")).await.unwrap();
    until_handled(&running, "mailer", 1).await;
    assert_eq!(seen.all(), ["order 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_type_is_unknown_where_there_are_several_handlers() {
    let running = Bed::default().start(MAILER, with_receipts(&Log::default())).await;
    running.publisher().publish_message("orders", Message::new("{\"n\":5}")).await.unwrap();
    until_dead(&running, "mailer", 1).await;
    assert_eq!(tally(&running, "mailer").dead_lettered["unknown-type"], 1);
}
