//! Messages that the broker refuses, among others that it takes.

use std::time::Duration;

use polymq_core::broker::{ChannelSpec, Destination, Outcome, Send};
use polymq_core::{ErrorKind, Message};
use tokio::time::Instant;

use crate::scene::{Scene, queue, set_up, topic};

fn send(to: &str, payload: Vec<u8>) -> Send {
    let message = Message::new(payload).with_id("m");
    Send::new(Destination::Channel(to.parse().unwrap()), message)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Publishes these among a hundred small ones to the queue `q`, of which each has to be confirmed.
async fn among_others(scene: &Scene, channels: &[ChannelSpec], odd: Send) -> Outcome {
    let broker = scene.configured(channels.to_vec(), "max_message_bytes = '32MiB'").await;
    let mut sends: Vec<_> = (0..100).map(|_| send("q", vec![0; 10])).collect();
    sends.insert(50, odd);
    let mut outcomes = broker.publish(sends, soon()).await;
    let odd = outcomes.remove(50);
    assert!(outcomes.iter().all(Outcome::is_confirmed), "{outcomes:?}");
    broker.close(soon()).await.unwrap();
    odd
}

#[tokio::test]
async fn a_payload_above_the_brokers_own_limit_is_rejected_and_harms_no_other() {
    let scene = Scene::new().await;
    let channels = vec![queue("q")];
    set_up(&*scene.broker(channels.clone()).await).await;
    match among_others(&scene, &channels, send("q", vec![0; 17 << 20])).await {
        Outcome::Rejected(error) => assert_eq!(error.kind(), ErrorKind::TooLarge),
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn a_message_to_a_missing_exchange_fails_and_harms_no_other() {
    let scene = Scene::new().await;
    set_up(&*scene.broker(vec![queue("q")]).await).await;
    let channels = [queue("q"), topic("gone", &[])];
    let odd = among_others(&scene, &channels, send("gone", Vec::new())).await;
    assert_eq!(odd.error().unwrap().kind(), ErrorKind::NotFound);
}
