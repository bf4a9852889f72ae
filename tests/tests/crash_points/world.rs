//! The scenario: what outlives a process, and the processes that come and go on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use polymq_core::broker::Capability;
use polymq_core::config::Config;
use polymq_core::dedup::{DedupStore, MemoryDedupStore};
use polymq_core::memory::{MemoryOptions, MemoryServer};
use polymq_core::{
    App, Clock, Context, HandlerError, Message, ResultExt, Running, Service, VirtualClock,
};
use polymq_testkit::faults::{Faults, FaultyAdapter, FaultyStore};
use polymq_testkit::harness::idle;
use tokio::time::Instant;

/// The ids of the inputs; one was published twice.
const INPUTS: [&str; 6] = ["ok", "flaky", "poison", "permanent", "ok", "last"];
/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(86_400);

/// One way to run the pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) atomic: bool,
    pub(crate) store: bool,
    pub(crate) ordered: bool,
    /// Another process consumes beside the one that crashes, and goes on.
    pub(crate) companion: bool,
    /// Handlers at once, and messages in hand.
    pub(crate) hand: usize,
}

impl Variant {
    fn config(self) -> Config {
        let order = if self.ordered { "order_by = 'key'" } else { "" };
        let dedup = if self.store { "dedup = { store = 'memory' }" } else { "" };
        let hand = self.hand;
        let text = format!(
            "[broker]
             url = 'memory://'
             [channels.work]
             kind = 'queue'
             {order}
             [channels.results]
             kind = 'queue'
             [consumers.worker]
             channel = 'work'
             outputs = ['results']
             concurrency = {hand}
             prefetch = {hand}
             retry = {{ immediate = 0, delayed = 3, base = '10s', jitter = 'none' }}
             {dedup}"
        );
        Config::builder().text("polymq.toml", text).build().unwrap()
    }
}

/// Input id and attempt of every decision of the handler.
type Runs = Arc<Mutex<Vec<(String, u32)>>>;

/// What outlives a process.
pub(crate) struct World {
    variant: Variant,
    clock: Arc<dyn Clock>,
    server: MemoryServer,
    store: Arc<dyn DedupStore>,
    runs: Runs,
}

/// The state of one process's service.
struct Worker {
    faults: Faults,
    runs: Runs,
    /// The handler never ends.
    hangs: bool,
    /// Goes with the last task that could still do something.
    _alive: Arc<()>,
}

async fn work(message: Message, ctx: Context<Worker>) -> Result<(), HandlerError> {
    tokio::task::yield_now().await;
    ctx.state().faults.alive().await;
    if ctx.state().hangs {
        std::future::pending::<()>().await;
    }
    let (id, attempt) = (ctx.id().to_string(), ctx.attempt());
    ctx.state().runs.lock().unwrap().push((id.clone(), attempt));
    match id.as_str() {
        "poison" => return Err("fails for ever".into()),
        "permanent" => Err("pointless").permanent()?,
        "flaky" if attempt == 1 => return Err("fails once".into()),
        _ => {}
    }
    for part in ["first", "second"] {
        let output = Message::new(part).with_key(message.key().cloned().unwrap_or_default());
        ctx.publish_message("results", output)?;
    }
    Ok(())
}

/// A process, and the test's hand on it.
pub(crate) struct Process {
    pub(crate) running: Running,
    pub(crate) faults: Faults,
    alive: Arc<()>,
}

impl World {
    /// A broker with the inputs, and nobody who consumes them.
    pub(crate) async fn new(variant: Variant) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
        let mut options = MemoryOptions::default();
        if !variant.atomic {
            options = options.without(Capability::Atomic);
        }
        let world = Self {
            variant,
            server: MemoryServer::new(options),
            store: Arc::new(MemoryDedupStore::new(Arc::clone(&clock))),
            clock,
            runs: Arc::default(),
        };
        let producer = App::with(world.server.adapter()).clock(Arc::clone(&world.clock));
        let producer = producer.start(variant.config()).await.unwrap();
        for id in INPUTS {
            let message = Message::new(id).with_id(id).with_key(id);
            producer.publisher().publish_message("work", message).await.unwrap();
        }
        assert!(producer.drain().await.is_clean());
        world
    }

    /// A process that works.
    pub(crate) async fn start(&self) -> Process {
        self.start_with(false).await
    }

    /// A process whose handlers never end.
    pub(crate) async fn start_hanging(&self) -> Process {
        self.start_with(true).await
    }

    async fn start_with(&self, hangs: bool) -> Process {
        let (faults, alive) = (Faults::new(), Arc::new(()));
        let worker = Worker {
            faults: faults.clone(),
            runs: Arc::clone(&self.runs),
            hangs,
            _alive: Arc::clone(&alive),
        };
        let adapter = FaultyAdapter::with(Arc::new(self.server.adapter()), faults.clone());
        let store = FaultyStore::new(Arc::clone(&self.store), faults.clone());
        let app = App::with(adapter)
            .clock(Arc::clone(&self.clock))
            .dedup_store("memory", Arc::new(store))
            .serve(Service::new(worker).on("worker", work));
        let running = app.start(self.variant.config()).await.unwrap();
        Process { running, faults, alive }
    }

    pub(crate) async fn run_until_idle(&self, process: &Process) {
        if let Err(busy) = idle(&process.running, Some(&self.server), LIMIT).await {
            panic!("{:?}: not idle after {LIMIT:?}:\n{busy}", self.variant);
        }
    }

    /// Every decision of the handler so far, over all processes.
    pub(crate) fn runs(&self) -> Vec<(String, u32)> {
        self.runs.lock().unwrap().clone()
    }
}

impl Process {
    /// Ends it without a word.
    pub(crate) async fn kill(self) -> Faults {
        drop(self.running);
        gone(&self.alive).await;
        self.faults
    }

    /// Drains it for at most a second, unless it crashes meanwhile.
    pub(crate) async fn drain(self) -> Faults {
        let deadline = Instant::now() + Duration::from_secs(1);
        tokio::select! {
            biased;
            _ = self.faults.crashed() => {}
            _ = self.running.drain_by(deadline) => {}
        }
        gone(&self.alive).await;
        self.faults
    }
}

/// Waits until nothing of a process is left.
async fn gone(alive: &Arc<()>) {
    for _ in 0..10_000 {
        if Arc::strong_count(alive) == 1 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("tasks are left of a process that has ended");
}
