use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Order, start};
use crate::{Context, HandlerError, Service};

const CONFIG: &str = r#"
    [broker]
    url = "memory://"
    [channels.orders]
    kind = "queue"
    [consumers.mailer]
    channel = "orders"
    retry = { immediate = 1, delayed = 3, base = "10s", jitter = "none" }
    dedup = { store = "memory" }
"#;

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_is_retried_then_handled() {
    async fn handle(order: Order, ctx: Context<AtomicU32>) -> Result<(), HandlerError> {
        assert_eq!(order.n, 7);
        ctx.state().fetch_add(1, Ordering::Relaxed);
        match ctx.attempt() {
            4 => Ok(()),
            _ => Err("not yet".into()),
        }
    }
    let running = start(CONFIG, Service::new(AtomicU32::new(0)).on("mailer", handle)).await;
    let begin = tokio::time::Instant::now();
    running.publisher().publish("orders", &Order { n: 7 }).await.unwrap();
    while running.state("mailer").unwrap().tally.handled == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begin.elapsed() >= Duration::from_secs(30));
    let state = running.state("mailer").unwrap();
    assert_eq!(state.tally.retried, 3, "{state:?}");
    let report = running.drain().await;
    assert!(report.is_clean(), "{report}");
}
