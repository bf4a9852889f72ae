//! Messages at the broker's limit.

use std::time::Duration;

use super::start;
use crate::broker::{Destination, Send};
use crate::model::ChannelName;
use crate::{Context, HandlerError, Message, Service};

const CONFIG: &str = r#"
    [broker]
    url = "memory://"
    [channels.orders]
    kind = "queue"
    [consumers.mailer]
    channel = "orders"
    retry = { immediate = 0, delayed = 3, base = "1s", jitter = "none" }
"#;

#[tokio::test(start_paused = true)]
async fn a_foreign_message_without_room_for_a_retry_header_is_not_retried_for_ever() {
    async fn handle(_: Message, _: Context<()>) -> Result<(), HandlerError> {
        Err("no".into())
    }
    let running = start(CONFIG, Service::new(()).on("mailer", handle)).await;
    let broker = running.broker_of("orders").unwrap();
    let limit = 1 << 20;
    let message = Message::new(vec![0; limit - 1]).with_id("m");
    assert_eq!(broker.wire_size(&message), limit);
    let to = Destination::Channel(ChannelName::new("orders").unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let outcomes = broker.publish(vec![Send::new(to, message)], deadline).await;
    assert!(outcomes[0].is_confirmed(), "{outcomes:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = running.state("mailer").unwrap();
    assert_eq!(state.tally.dead_letters(), 1, "{state:?}");
}
