use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polymq_core::broker::{Credentials, Event};
use polymq_testkit::containers::KafkaServer;
use rdkafka::bindings::rd_kafka_test_fatal_error;
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaRespErr;

use super::scene::{Scene, confirmed, numbered, numbers, soon};
use crate::publish::Publisher;

/// Breaks a producer other than `last`, if there is one, with what librdkafka offers for tests: it cannot be
/// made to fail for good from outside.
#[allow(unsafe_code)]
fn break_for_good(publisher: &Publisher, last: Option<usize>) -> Option<usize> {
    let producer = publisher.shared.producer();
    let producer = producer.as_ref()?;
    let address = Arc::as_ptr(producer).addr();
    if last == Some(address) {
        return None;
    }
    // SAFETY: the client lives as long as `producer`, and the text is a C string.
    unsafe {
        rd_kafka_test_fatal_error(
            producer.client().native_ptr(),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"a test".as_ptr(),
        );
    }
    Some(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_producer_fails_for_good_everything_owed_is_sent_again_in_order() {
    const COUNT: usize = 40_000;
    let scene = Scene::new().await;
    let publisher = scene.publisher("publish_window = 2000");
    let is_done = AtomicBool::new(false);
    let call = async {
        let sends = (0..COUNT).map(|n| numbered(n, "k")).collect();
        let outcomes = publisher.publish(sends, soon()).await;
        is_done.store(true, Ordering::Relaxed);
        outcomes
    };
    let failures = async {
        let mut last = None;
        for _ in 0..2 {
            last = loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let broken = break_for_good(&publisher, last);
                if broken.is_some() {
                    break broken;
                }
            };
            assert!(!is_done.load(Ordering::Relaxed), "it came too late to show anything");
        }
    };
    let (outcomes, ()) = tokio::join!(call, failures);
    confirmed(&outcomes);
    let stored = numbers(&scene.stored(&scene.name("orders")).await, "k");
    // Repetitions are allowed, but each message comes for the first time after all earlier ones.
    let mut seen = BTreeSet::new();
    let first: Vec<_> = stored.into_iter().filter(|number| seen.insert(*number)).collect();
    assert_eq!(first, (0..COUNT).collect::<Vec<_>>());
}

/// Wrong at first, right after a rotation.
#[derive(Debug, Default)]
struct Rotating(AtomicBool);

impl Credentials for Rotating {
    fn password(&self) -> polymq_core::Result<Option<secrecy::SecretString>> {
        let password = if self.0.load(Ordering::Relaxed) { "alice" } else { "old" };
        Ok(Some(password.into()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_new_password_is_used_and_nothing_is_lost() {
    let mut scene = Scene::new().await;
    let server = KafkaServer::shared().await.unwrap();
    scene.as_alice(&server);
    let mut events = scene.events.subscribe();
    let credentials = Arc::new(Rotating::default());
    let publisher = scene.publisher_with("", Some(Arc::clone(&credentials) as _));
    let call = publisher.publish((0..300).map(|n| numbered(n, "k")).collect(), soon());
    let rotation = async {
        while !matches!(events.recv().await, Some(Event::AuthFailed { .. }) | None) {}
        credentials.0.store(true, Ordering::Relaxed);
    };
    let (outcomes, ()) = tokio::join!(call, rotation);
    confirmed(&outcomes);
    let stored = numbers(&scene.stored(&scene.name("orders")).await, "k");
    assert_eq!(stored, (0..300).collect::<Vec<_>>());
}
