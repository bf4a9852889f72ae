//! The in-process harness, used as a service's own tests use it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that finds something panics")]

mod failures;
mod mailer;
mod real;

use std::time::Duration;

use polymq_core::broker::{Destination, Send};
use polymq_core::{Context, DeadLetterReason, ErrorKind, HandlerError, Message, Service};
use polymq_testkit::faults::{Operation, PublishFault};
use polymq_testkit::harness::idle;
use polymq_testkit::{TestApp, memory, start, start_on};

use mailer::{OrderPlaced, ReceiptSent, Smtp, service};

const CONFIG: &str = "tests/harness/polymq.toml";
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_bounced_mail_is_retried_then_receipted() {
    let t = start(CONFIG, service(Smtp::failing(1))).await; // memory, virtual time
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.idle().await; // nothing runnable; delays are skipped
    t.attempts("mailer").assert_eq(2);
    t.published::<ReceiptSent>("receipts").one(|r| r.order == "42");
    t.dead_letters("mailer").none();
}

#[tokio::test]
async fn a_mail_that_always_bounces_is_dead_lettered_after_hours_of_retries() {
    let t = start(CONFIG, service(Smtp::failing(u32::MAX))).await;
    let begin = t.now();
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.idle().await;
    let took = t.now().saturating_since(begin);
    let delays = HOUR * (1 + 2 + 4 + 8 + 16);
    assert!(took >= delays && took < delays + Duration::from_secs(1), "{took:?}");
    t.attempts("mailer").assert_eq(6);
    t.handled("mailer").assert_eq(0);
    let dead = t.dead_letters("mailer").one(|d| d.is(DeadLetterReason::RetriesExhausted));
    assert_eq!((dead.attempts(), dead.error()), (6, "bounced"));
    t.published::<ReceiptSent>("receipts").none();
}

#[tokio::test]
async fn an_order_without_an_address_is_dead_lettered_at_once() {
    let t = start(CONFIG, service(Smtp::working())).await;
    for order in ["1", "2"] {
        t.publish("orders", OrderPlaced::without_email(order)).await;
    }
    t.publish("orders", OrderPlaced::sample("3")).await;
    t.idle().await;
    t.attempts("mailer").assert_eq(3);
    t.handled("mailer").assert_eq(1);
    t.dead_letters("mailer").count(2);
    assert!(t.dead_letters("mailer").all().iter().all(|d| d.is(DeadLetterReason::Permanent)));
    assert_eq!(t.published::<OrderPlaced>("orders").all().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn time_that_is_already_virtual_stays_so_and_passes_in_order() {
    let t = start(CONFIG, service(Smtp::failing(1))).await;
    let begin = t.now();
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.advance(Duration::from_millis(1)).await;
    t.attempts("mailer").assert_eq(1);
    t.advance(HOUR * 2).await;
    t.attempts("mailer").assert_eq(2);
    assert_eq!(t.now(), begin + HOUR * 2 + Duration::from_millis(1));
    assert!(t.drain().await.is_clean());
}

fn is_dead_letter(send: &Send) -> bool {
    matches!(send.destination, Destination::DeadLetter(_))
}

#[tokio::test]
async fn while_the_dead_letter_channel_is_away_the_message_stays() {
    let t = start(CONFIG, service(Smtp::working())).await;
    let gone = PublishFault::Rejected(ErrorKind::Disconnected);
    let away = t.faults().fail_publish(is_dead_letter, gone);
    t.publish("orders", OrderPlaced::without_email("42")).await;
    t.advance(HOUR).await;
    t.dead_letters("mailer").none();
    away.end();
    t.idle().await;
    t.dead_letters("mailer").count(1);
    t.attempts("mailer").assert_eq(1);
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_handled() {
    let t = start(CONFIG, service(Smtp::working())).await;
    let away = t.faults().fail(Operation::Claim, ErrorKind::Store);
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.advance(HOUR).await;
    t.attempts("mailer").assert_eq(0);
    away.end();
    t.idle().await;
    t.handled("mailer").assert_eq(1);
}

async fn publish_one(t: &TestApp, id: &str) {
    let order = OrderPlaced::sample("42");
    t.publish_message("orders", Message::of(&order).unwrap().with_id(id)).await;
}

#[tokio::test]
async fn a_service_that_is_started_again_goes_on_where_the_first_one_crashed() {
    let broker = memory();
    let first = start_on(broker.clone(), CONFIG, service(Smtp::failing(1))).await;
    let before = first.now();
    publish_one(&first, "a").await;
    first.advance(Duration::from_secs(1)).await;
    first.attempts("mailer").assert_eq(1);
    drop(first);

    let second = start_on(broker, CONFIG, service(Smtp::working())).await;
    assert!(second.now() > before, "one clock for both lives");
    publish_one(&second, "a").await;
    second.idle().await;
    second.handled("mailer").assert_eq(1);
    second.published::<ReceiptSent>("receipts").count(1);
}

#[tokio::test]
async fn what_is_scheduled_counts_as_published_to_its_channel() {
    let t = start(CONFIG, service(Smtp::working())).await;
    let due = t.now() + HOUR;
    t.publish_message("receipts", Message::new("later").with_deliver_at(due)).await;
    t.messages("receipts").one(|m| m.deliver_at() == Some(due) && m.payload().unwrap() == "later");
}

#[tokio::test]
async fn idleness_is_also_found_by_looking_again_and_again() {
    let t = start(CONFIG, service(Smtp::failing(2))).await;
    t.publish("orders", OrderPlaced::sample("42")).await;
    assert!(idle(t.running(), None, HOUR).await.is_err(), "the second retry is due in 3 hours");
    idle(t.running(), None, HOUR * 3).await.unwrap();
    t.attempts("mailer").assert_eq(3);
}

#[tokio::test]
async fn handlers_that_block_a_thread_hold_the_time() {
    async fn slow(_: Message, _: Context<()>) -> Result<(), HandlerError> {
        let wait = || std::thread::sleep(Duration::from_millis(20));
        tokio::task::spawn_blocking(wait).await.map_err(HandlerError::from)
    }
    let t = start(CONFIG, Service::new(()).on("mailer", slow)).await;
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.idle().await;
    t.handled("mailer").assert_eq(1);
    t.attempts("mailer").assert_eq(1);
}
