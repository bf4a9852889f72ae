use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polymq_core::broker::{Credentials, Event};
use rdkafka::bindings::rd_kafka_test_fatal_error;
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaRespErr;

use super::scene::{Scene, confirmed, numbered, numbers, soon};
use crate::publish::Publisher;

/// What librdkafka offers for tests: it cannot be made to fail for good from outside.
#[allow(unsafe_code)]
fn break_for_good(publisher: &Publisher) -> bool {
    let producer = publisher.shared.producer();
    let Some(producer) = &*producer else { return false };
    // SAFETY: the client lives as long as `producer`, and the text is a C string.
    unsafe {
        rd_kafka_test_fatal_error(
            producer.client().native_ptr(),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"a test".as_ptr(),
        );
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_producer_fails_for_good_everything_owed_is_sent_again_in_order() {
    const COUNT: usize = 20_000;
    let scene = Scene::new().await;
    let publisher = scene.publisher("publish_window = 2000");
    let call = publisher.publish((0..COUNT).map(|n| numbered(n, "k")).collect(), soon());
    let failures = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            while !break_for_good(&publisher) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
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
    scene.url = std::env::var("TEST_KAFKA_SASL_URL").expect("TEST_KAFKA_SASL_URL: as alice");
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
    scene.url = super::scene::url();
    let stored = numbers(&scene.stored(&scene.name("orders")).await, "k");
    assert_eq!(stored, (0..300).collect::<Vec<_>>());
}
