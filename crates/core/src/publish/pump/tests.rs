use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use crate::config::Config;
use crate::{App, Message, VirtualClock};

const ORDERED: &str = r#"
    [broker]
    url = "memory://"
    [broker.memory]
    lacks = ["ordered-pipelining"]
    [channels.orders]
    kind = "queue"
    order_by = "key"
"#;

#[tokio::test(start_paused = true)]
async fn a_publish_that_was_given_up_unsent_does_not_hold_up_the_end() {
    let config = Config::builder().text("polymq.toml", ORDERED).build().unwrap();
    let app = App::new().clock(Arc::new(VirtualClock::default()));
    let running = app.start(config).await.unwrap();
    let (publisher, begin) = (running.publisher(), Instant::now());
    let message = Message::new("x").with_key("k");
    assert!(publisher.publish_message("orders", message).now_or_never().is_none());
    let report = running.drain().await;
    assert!(report.is_clean(), "{report}");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}
