//! The same job in several ways: 256-byte messages from one task to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use polymq_core::broker::{Adapter, Connect, Settlement, Subscription};
use polymq_core::config::Config;
use polymq_core::memory::{MemoryOptions, MemoryServer};
use polymq_core::{App, ConsumerName, Context, HandlerError, Message, Running, Service};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Channel,
    Publish,
    Consume,
    Pipeline,
}

const BATCH: usize = 256;
const PAYLOAD: [u8; 256] = [7; 256];

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Channel, Self::Publish, Self::Consume, Self::Pipeline];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Channel => "tokio-mpsc",
            Self::Publish => "publish",
            Self::Consume => "bare-consumer",
            Self::Pipeline => "pipeline",
        }
    }

    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Channel => "a bounded tokio channel (1024): send, receive",
            Self::Publish => "`Publisher::publish_all` in batches of 256, confirmed",
            Self::Consume => "publish, then the bare consumer: `recv`, `settle`",
            Self::Pipeline => "publish, then the whole pipeline with a raw handler",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    pub(crate) async fn run(self, count: usize) {
        match self {
            Self::Channel => channel(count).await,
            Self::Publish => publish(count).await,
            Self::Consume => consume(count).await,
            Self::Pipeline => pipeline(count).await,
        }
    }
}

pub(crate) fn run_on_one_thread(scenario: Scenario, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(scenario.run(count)).await.unwrap() });
}

async fn channel(count: usize) {
    let (sender, mut receiver) = mpsc::channel(1024);
    let payload = Bytes::from_static(&PAYLOAD);
    let producer = tokio::spawn(async move {
        for _ in 0..count {
            sender.send(Message::new(payload.clone())).await.unwrap();
        }
    });
    let mut received = 0;
    while let Some(message) = receiver.recv().await {
        received += usize::from(message.payload().is_some());
    }
    producer.await.unwrap();
    assert_eq!(received, count);
}

const CONFIG: &str = r#"
    [broker]
    url = "memory://"
    [channels.bench]
    kind = "queue"
    [consumers.bench]
    channel = "bench"
    concurrency = 2
    prefetch = 1024
"#;

async fn start(app: App) -> Running {
    let config = Config::builder().text("bench.toml", CONFIG).build().unwrap();
    app.start(config).await.unwrap()
}

fn server() -> MemoryServer {
    MemoryServer::new(MemoryOptions::default().with_max_bytes(4 << 30))
}

/// Keeps the producer at most eight batches ahead of the consumer, as a bounded channel would.
struct Ahead(Semaphore);

impl Ahead {
    fn new() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(8 * BATCH)))
    }

    fn unbounded() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(Semaphore::MAX_PERMITS)))
    }

    async fn produce(&self, count: usize) {
        self.0.acquire_many(count as u32).await.unwrap().forget();
    }

    fn consumed(&self, count: usize) {
        self.0.add_permits(count);
    }
}

async fn produce(running: &Running, count: usize, ahead: &Ahead) {
    let publisher = running.publisher();
    let payload = Bytes::from_static(&PAYLOAD);
    assert!(count.is_multiple_of(BATCH), "whole batches");
    for _ in 0..count / BATCH {
        ahead.produce(BATCH).await;
        let messages = (0..BATCH).map(|_| Message::new(payload.clone()));
        for outcome in publisher.publish_all("bench", messages).await.unwrap() {
            assert!(outcome.is_confirmed());
        }
    }
}

async fn publish(count: usize) {
    let running = start(App::new().adapter(server().adapter())).await;
    produce(&running, count, &Ahead::unbounded()).await;
    drop(running);
}

async fn consume(count: usize) {
    let server = server();
    let running = start(App::new().adapter(server.adapter())).await;
    let topology = running.config().topology_of("default", "memory");
    let soon = || Instant::now() + Duration::from_secs(60);
    let request = Connect::new("default", vec!["memory://".into()], topology.clone(), soon());
    let broker = server.adapter().connect(request).await.unwrap();
    let spec = topology.channel("bench").unwrap();
    let subscription = Subscription::new(
        spec.name.clone(),
        spec.groups[0].name.clone(),
        ConsumerName::new("bench").unwrap(),
        1024,
        Duration::from_secs(3600),
    );
    let consumer = broker.subscribe(subscription, soon()).await.unwrap();
    let ahead = Ahead::new();
    let behind = Arc::clone(&ahead);
    let consuming = tokio::spawn(async move {
        let mut settlements = Vec::with_capacity(1024);
        let mut received = 0;
        while received < count {
            let deliveries = consumer.recv(1024).await.unwrap();
            settlements.clear();
            settlements.extend(deliveries.iter().map(|d| (d.token, Settlement::Ack)));
            for result in consumer.settle(&settlements, soon()).await {
                result.unwrap();
            }
            received += deliveries.len();
            behind.consumed(deliveries.len());
        }
    });
    produce(&running, count, &ahead).await;
    consuming.await.unwrap();
}

async fn pipeline(count: usize) {
    struct Seen {
        count: AtomicUsize,
        ahead: Arc<Ahead>,
    }
    async fn handle(message: Message, ctx: Context<Seen>) -> Result<(), HandlerError> {
        let seen = ctx.state().count.fetch_add(1, Ordering::Relaxed) + 1;
        if seen.is_multiple_of(BATCH) {
            ctx.state().ahead.consumed(BATCH);
        }
        assert!(message.payload().is_some());
        Ok(())
    }
    let ahead = Ahead::new();
    let seen = Seen { count: AtomicUsize::new(0), ahead: Arc::clone(&ahead) };
    let service = Service::new(seen).on("bench", handle);
    let running = start(App::new().adapter(server().adapter()).serve(service)).await;
    produce(&running, count, &ahead).await;
    // Everything has been handled once the producer could get this far ahead again.
    ahead.produce(8 * BATCH).await;
    let report = running.drain().await;
    assert!(report.is_clean());
    assert_eq!(report.consumers[0].tally.handled as usize, count);
}
