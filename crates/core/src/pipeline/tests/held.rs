//! What is held back goes on, whatever becomes of the message that everything waits for.

use std::time::Duration;

use super::{Order, start};
use crate::{Context, HandlerError, Message, Service};

const BREAKER: &str = r#"
    [broker]
    url = "memory://"
    [channels.orders]
    kind = "queue"
    [consumers.mailer]
    channel = "orders"
    concurrency = 1
    retry = { immediate = 0, delayed = 0 }
    breaker = { failure_rate = 0.5, minimum = 2, window = "10s", open = "30s" }
"#;

#[tokio::test(start_paused = true)]
async fn a_message_that_expires_while_the_breaker_is_open_leaves_the_probe_to_another() {
    async fn handle(_: Order, _: Context<()>) -> Result<(), HandlerError> {
        Err("down".into())
    }
    let running = start(BREAKER, Service::new(()).on("mailer", handle)).await;
    let order = |n| Message::of(&Order { n }).unwrap();
    // Two failures trip it; those with a time-to-live expire before it is half-open.
    let messages = [
        order(1),
        order(2),
        order(3).with_ttl(Duration::from_secs(10)),
        order(4).with_ttl(Duration::from_secs(10)),
        order(5),
    ];
    running.publisher().publish_all("orders", messages).await.unwrap();
    tokio::time::sleep(Duration::from_secs(70)).await;
    let state = running.state("mailer").unwrap();
    assert_eq!(state.tally.expired, 2, "{state:?}");
    assert_eq!(state.tally.dead_letters(), 3, "the probe failed: {state:?}");
    running.publisher().publish("orders", &Order { n: 6 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(70)).await;
    let state = running.state("mailer").unwrap();
    assert_eq!(state.tally.dead_letters(), 4, "{state:?}");
    assert!(running.drain().await.is_clean());
}
