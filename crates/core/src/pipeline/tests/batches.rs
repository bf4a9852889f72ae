//! Batch handlers.

use std::time::Duration;

use async_trait::async_trait;

use super::{Order, start};
use crate::{Call, Context, HandlerError, Middleware, Next, Service};

const CONFIG: &str = r#"
    [broker]
    url = "memory://"
    [channels.orders]
    kind = "queue"
    [consumers.mailer]
    channel = "orders"
"#;

struct Skip;

#[async_trait]
impl<S: Send + Sync + 'static> Middleware<S> for Skip {
    async fn handle(&self, _: Call<'_, S>, _: Next<'_, S>) -> Result<(), HandlerError>
    where
        S: 'async_trait,
    {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_middleware_skips_is_handled() {
    async fn handle(
        _: Vec<(Order, Context<()>)>,
    ) -> Result<Vec<Result<(), HandlerError>>, HandlerError> {
        Err("not reached".into())
    }
    let service = Service::new(()).on_batch("mailer", handle).layer(Skip);
    let running = start(CONFIG, service).await;
    running.publisher().publish("orders", &Order { n: 1 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let state = running.state("mailer").unwrap();
    assert_eq!(state.tally.handled, 1, "{state:?}");
}
