//! What the reader of a failed test sees.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use polymq_core::broker::Destination;
use polymq_core::config::Config;
use polymq_core::{ErrorKind, Service};
use polymq_testkit::faults::PublishFault;
use polymq_testkit::{TestApp, start};

use crate::CONFIG;
use crate::mailer::{OrderPlaced, ReceiptSent, Smtp, service};

/// What `check` panics with.
fn failure<T>(check: impl FnOnce() -> T) -> String {
    let panic = std::panic::catch_unwind(AssertUnwindSafe(check)).err();
    *panic.expect("the check should have failed").downcast::<String>().unwrap()
}

async fn bounced() -> TestApp {
    let t = start(CONFIG, service(Smtp::failing(1))).await;
    t.publish("orders", OrderPlaced::sample("42")).await;
    t.publish("orders", OrderPlaced::without_email("43")).await;
    t.idle().await;
    t
}

#[tokio::test]
async fn a_wrong_count_shows_every_attempt_and_its_end() {
    let t = bounced().await;
    let text = failure(|| t.attempts("mailer").assert_eq(2));
    assert!(text.starts_with("attempts of consumer `mailer`: expected 2, found 3\n"), "{text}");
    assert!(text.contains("attempt 1: failed: bounced"), "{text}");
    assert!(text.contains("attempt 1: failed: no address"), "{text}");
    assert!(text.contains("attempt 2: returned"), "{text}");
}

#[tokio::test]
async fn an_unexpected_dead_letter_shows_its_reason_and_error() {
    let t = bounced().await;
    let text = failure(|| t.dead_letters("mailer").none());
    assert!(text.contains("expected 0, found 1\n"), "{text}");
    assert!(text.contains("permanent after 1 attempts: \"no address\"; message"), "{text}");
    let text = failure(|| t.dead_letters("mailer").one(|d| d.attempts() == 2));
    assert!(text.contains("expected one that matches, found none of 1"), "{text}");
}

#[tokio::test]
async fn a_missing_output_shows_what_was_published_instead() {
    let t = bounced().await;
    let text = failure(|| t.published::<ReceiptSent>("receipts").one(|r| r.order == "41"));
    assert!(text.contains("expected one that matches, found 0 of 1"), "{text}");
    assert!(text.contains(r#"`receipt.sent`: {\"order\":\"42\"}"#), "{text}");
    let text = failure(|| t.published::<OrderPlaced>("receipts").count(1));
    assert!(text.contains("`receipt.sent`"), "other types are shown: {text}");
}

#[tokio::test]
async fn an_unknown_name_shows_those_that_there_are() {
    let t = bounced().await;
    let text = failure(|| t.attempts("mialer").get());
    assert_eq!(text, "no consumer `mialer` runs; those that do: [`mailer`]");
    let text = failure(|| t.published::<ReceiptSent>("receipt"));
    assert_eq!(text, "no channel `receipt`; there are: [`mailer-dead`, `orders`, `receipts`]");
}

#[tokio::test]
#[should_panic(expected = "group `mailer` on channel `orders`: 0 ready, 1 in flight, 0 delayed")]
async fn a_service_that_never_comes_to_rest_shows_what_is_left_where() {
    let t = start(CONFIG, service(Smtp::working())).await;
    t.faults().fail_publish(
        |send| matches!(send.destination, Destination::DeadLetter(_)),
        PublishFault::Rejected(ErrorKind::Disconnected),
    );
    t.publish("orders", OrderPlaced::without_email("42")).await;
    t.idle_within(Duration::from_secs(3600)).await;
}

#[tokio::test]
#[should_panic(expected = "publish, channel `orders`, broker `events`: a fault that the test")]
async fn a_publish_that_fails_shows_its_error() {
    let t = start(CONFIG, service(Smtp::working())).await;
    t.faults().fail_publish(|_| true, PublishFault::Rejected(ErrorKind::TooLarge));
    t.publish("orders", OrderPlaced::sample("42")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "write #[tokio::test] without `flavor = \"multi_thread\"`")]
async fn a_runtime_without_virtual_time_is_refused() {
    drop(start(CONFIG, Service::new(())).await);
}

#[tokio::test]
#[should_panic(expected = "tests/harness/nothing.toml")]
async fn a_missing_file_is_named() {
    drop(start("tests/harness/nothing.toml", Service::new(())).await);
}

#[tokio::test]
#[should_panic(expected = "failures.rs")]
async fn a_service_that_does_not_start_says_where_it_was_started() {
    let empty = Config::builder().text("polymq.toml", "[broker]\nurl = 'memory://'");
    drop(start(empty, service(Smtp::working())).await);
}
