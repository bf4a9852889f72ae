//! The pipeline on the in-memory broker, in virtual time.

mod batches;
mod held;
mod limits;
mod stalls;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::{App, Payload, Running, Service, VirtualClock};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    n: u32,
}

impl Payload for Order {
    const TYPE: &'static str = "order";
}

async fn start<S: Send + Sync + 'static>(config: &str, service: Service<S>) -> Running {
    let app = App::new().clock(Arc::new(VirtualClock::default())).serve(service);
    let config = Config::builder().text("polymq.toml", config).build().unwrap();
    app.start(config).await.unwrap()
}
