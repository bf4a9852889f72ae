//! The same service, file and questions on real brokers, with delays that can be sat through.

use std::time::Duration;

use polymq_core::DeadLetterReason;
use polymq_core::config::{Config, ConfigBuilder};
use polymq_testkit::{TestBroker, kafka, rabbitmq, start_on};

use super::CONFIG;
use super::mailer::{OrderPlaced, ReceiptSent, Smtp, service};

fn impatient() -> ConfigBuilder {
    let retry = "consumers.mailer.retry";
    Config::builder()
        .file(CONFIG)
        .set(format!("{retry}.base"), "1s")
        .set(format!("{retry}.max"), "1s")
        .set(format!("{retry}.delayed"), 2)
}

async fn a_bounced_mail_is_retried_then_receipted(broker: TestBroker) {
    let t = start_on(broker, impatient(), service(Smtp::failing(1))).await;
    let begin = t.now();
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.idle().await; // a real second passes
    assert!(t.now().saturating_since(begin) >= Duration::from_secs(1));
    t.attempts("mailer").assert_eq(2);
    t.published::<ReceiptSent>("receipts").one(|r| r.order == "42");
    t.dead_letters("mailer").none();
}

async fn a_mail_that_always_bounces_is_dead_lettered_after_its_retries(broker: TestBroker) {
    let t = start_on(broker, impatient(), service(Smtp::failing(u32::MAX))).await;
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.idle().await;
    t.attempts("mailer").assert_eq(3);
    let dead = t.dead_letters("mailer").one(|d| d.is(DeadLetterReason::RetriesExhausted));
    assert_eq!((dead.attempts(), dead.error()), (3, "bounced"));
}

async fn a_crashed_services_retry_is_handled_by_the_next_one_and_by_no_other_test(
    broker: TestBroker,
    others: TestBroker,
) {
    let crashing = start_on(broker.clone(), impatient(), service(Smtp::failing(u32::MAX))).await;
    let beside = start_on(others, impatient(), service(Smtp::working())).await;
    crashing.publish("orders", OrderPlaced::sample("42")).await;
    while crashing.running().state("mailer").unwrap().tally.retried == 0 {
        crashing.advance(Duration::from_millis(10)).await;
    }
    drop(crashing);
    let next = start_on(broker, impatient(), service(Smtp::working())).await;
    next.idle().await;
    next.handled("mailer").assert_eq(1);
    beside.idle().await;
    beside.attempts("mailer").assert_eq(0);
}

macro_rules! on {
    ($broker:ident) => {
        mod $broker {
            use super::$broker;

            #[tokio::test]
            async fn a_bounced_mail_is_retried_then_receipted() {
                super::a_bounced_mail_is_retried_then_receipted($broker().await).await;
            }

            #[tokio::test]
            async fn a_mail_that_always_bounces_is_dead_lettered_after_its_retries() {
                let broker = $broker().await;
                super::a_mail_that_always_bounces_is_dead_lettered_after_its_retries(broker).await;
            }

            #[tokio::test]
            async fn a_crashed_services_retry_is_handled_by_the_next_one_and_by_no_other_test() {
                super::a_crashed_services_retry_is_handled_by_the_next_one_and_by_no_other_test(
                    $broker().await,
                    $broker().await,
                )
                .await;
            }
        }
    };
}

on!(rabbitmq);
on!(kafka);

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a real broker runs in real time, and this test's is virtual")]
async fn virtual_time_is_refused() {
    rabbitmq().await;
}
