//! What is sent, and what the publisher learns of it.

use std::time::Duration;

use polymq_core::broker::Outcome;
use polymq_core::model::hop;
use polymq_core::{ErrorKind, Message};
use polymq_testkit::faults::PublishFault;
use polymq_tests::bed::{Bed, MAILER, hop as header, keyed, order, queued};

use super::start;

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_was_sent_is_unconfirmed() {
    let bed = Bed::default();
    let running = start(&bed, MAILER).await;
    bed.faults.fail_publish(|_| true, PublishFault::Silent);
    let publisher = running.publisher().with_deadline(Duration::from_secs(3));
    let begin = tokio::time::Instant::now();
    let error = publisher.publish("orders", &order(1)).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_secs(3));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let unconfirmed = error.context().any(|(k, v)| k == "outcome" && v.starts_with("unconfirmed"));
    assert!(unconfirmed, "{error}");
    let outcomes = publisher.publish_all("orders", [Message::new("x")]).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Unconfirmed(_)]), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_says_that_the_message_is_certainly_not_there() {
    let bed = Bed::default();
    let running = start(&bed, MAILER).await;
    bed.faults.fail_publish(|_| true, PublishFault::Rejected(ErrorKind::PermissionDenied));
    let error = running.publisher().publish("orders", &order(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!error.is_retryable());
    assert!(!error.context().any(|(key, _)| key == "outcome"), "{error}");
    assert_eq!(error.channel(), Some("orders"));
    assert_eq!(error.broker(), Some("default"));
}

#[tokio::test(start_paused = true)]
async fn headers_of_polymqs_own_are_stripped_and_ids_and_timestamps_are_filled_in() {
    let bed = Bed::default();
    let running = start(&bed, MAILER).await;
    let message = Message::new("x")
        .with_header(hop::ATTEMPT, "7")
        .with_header("polymq-anything", "x")
        .with_header("tenant", "acme");
    running.publisher().publish_message("orders", message).await.unwrap();
    let own =
        Message::new("x").with_id("own").with_timestamp(polymq_core::Timestamp::from_millis(5));
    running.publisher().publish_message("orders", own).await.unwrap();
    let [first, second] = &queued(&running, "orders").await[..] else { panic!("two") };
    assert_eq!(header(first, hop::ATTEMPT), "");
    assert!(first.headers().iter().all(|(name, _)| !name.starts_with("polymq-")));
    assert_eq!(first.headers().get_str("tenant"), Some("acme"));
    assert!(first.id().is_some());
    assert_eq!(first.timestamp(), Some(bed.now()));
    assert_eq!(second.id().unwrap(), &"own");
    assert_eq!(second.timestamp(), Some(polymq_core::Timestamp::from_millis(5)));
}

#[tokio::test(start_paused = true)]
async fn a_typed_payload_brings_its_type_key_and_content_type() {
    let running = start(&Bed::default(), MAILER).await;
    running.publisher().publish("orders", &keyed("k", 1)).await.unwrap();
    let [message] = &queued(&running, "orders").await[..] else { panic!("one") };
    assert_eq!(message.message_type(), Some("order"));
    assert_eq!(message.content_type(), Some("application/json"));
    assert_eq!(message.key().map(AsRef::as_ref), Some(b"k".as_ref()));
}

#[tokio::test(start_paused = true)]
async fn a_publish_to_a_topic_without_groups_is_confirmed() {
    let text = "[broker]\nurl = 'memory://'\n[channels.news]\nkind = 'topic'\n";
    let running = start(&Bed::default(), text).await;
    running.publisher().publish("news", &order(1)).await.unwrap();
}
