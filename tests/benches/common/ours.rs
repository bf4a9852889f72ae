//! polymq: the publisher, and the whole pipeline with a raw handler.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use polymq_core::config::Config;
use polymq_core::{Context, HandlerError, Message, Running, Service};
use tokio::sync::Notify;

use super::measure::{Sample, Start};
use super::{BYTES, MESSAGES, WINDOW};

pub(crate) struct Ours {
    config: Config,
    producer: Running,
}

/// What the handler keeps: when the round began, and how many of its messages it has seen.
struct Seen {
    all: u64,
    count: AtomicU64,
    start: Mutex<Option<Start>>,
    sample: Mutex<Option<Sample>>,
    done: Notify,
}

async fn handle(message: Message, ctx: Context<Arc<Seen>>) -> Result<(), HandlerError> {
    std::hint::black_box(message.payload());
    let seen = ctx.state();
    match seen.count.fetch_add(1, Ordering::Relaxed) + 1 {
        1 => *seen.start.lock().unwrap() = Some(Start::now()),
        n if n == seen.all => {
            let start = seen.start.lock().unwrap().take();
            *seen.sample.lock().unwrap() = start.map(Start::sample);
            seen.done.notify_one();
        }
        _ => {}
    }
    Ok(())
}

impl Seen {
    fn new(all: u64) -> Self {
        Self {
            all,
            count: AtomicU64::new(0),
            start: Mutex::default(),
            sample: Mutex::default(),
            done: Notify::new(),
        }
    }
}

impl Ours {
    /// With a configuration that has a channel `orders` and a consumer `reader`.
    pub(crate) async fn connect(config: String) -> Self {
        let config = Config::builder().text("bench.toml", config).build().unwrap();
        let producer = polymq::app().start(config.clone()).await.unwrap();
        Self { config, producer }
    }

    pub(crate) async fn publish_tasks(&self) -> Sample {
        let start = Start::now();
        let tasks = (0..WINDOW).map(|_| {
            let publisher = self.producer.publisher();
            tokio::spawn(async move {
                for _ in 0..MESSAGES / WINDOW {
                    let message = Message::new(vec![0; BYTES]);
                    publisher.publish_message("orders", message).await.unwrap();
                }
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        start.sample()
    }

    pub(crate) async fn publish_batches(&self) -> Sample {
        let publisher = self.producer.publisher();
        let start = Start::now();
        for _ in 0..MESSAGES / WINDOW {
            let batch: Vec<_> = (0..WINDOW).map(|_| Message::new(vec![0; BYTES])).collect();
            let outcomes = publisher.publish_all("orders", batch).await.unwrap();
            assert!(outcomes.iter().all(polymq_core::broker::Outcome::is_confirmed));
        }
        start.sample()
    }

    /// Handles this many messages, from the first one on; acks included, as the drain shows.
    pub(crate) async fn consume(&self, all: u64) -> Sample {
        let seen = Arc::new(Seen::new(all));
        let service = Service::new(Arc::clone(&seen)).on("reader", handle);
        let running = polymq::app().serve(service).start(self.config.clone()).await.unwrap();
        seen.done.notified().await;
        let report = running.drain().await;
        assert!(report.is_clean(), "{report}");
        let sample = seen.sample.lock().unwrap().take();
        sample.unwrap()
    }

    pub(crate) async fn close(self) {
        let report = self.producer.drain().await;
        assert!(report.is_clean(), "{report}");
    }
}
