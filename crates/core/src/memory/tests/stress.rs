use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::*;

const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 6;
const EACH: usize = 3000;
const KEYS: usize = 24;

/// What the consumers saw, per key and number: `key:number` is a payload.
#[derive(Default)]
struct Ledger {
    handled: HashSet<String>,
    /// The last number handled of each key.
    last: HashMap<String, usize>,
    disorder: Vec<String>,
    duplicates: usize,
}

impl Ledger {
    /// Called after a successful ack, by whoever holds the key.
    fn handled(&mut self, payload: &str) {
        let (key, number) = payload.split_once(':').unwrap();
        let number: usize = number.parse().unwrap();
        if !self.handled.insert(payload.to_owned()) {
            self.duplicates += 1;
        }
        let last = self.last.insert(key.to_owned(), number);
        if last.is_some_and(|last| last >= number) {
            self.disorder.push(format!("{payload} after {last:?}"));
        }
    }
}

async fn publisher(broker: Arc<dyn Broker>, of: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut numbers = [0usize; KEYS];
    let mut left = EACH;
    while left > 0 {
        let batch = random.random_range(1..=64).min(left);
        left -= batch;
        let sends = (0..batch).map(|_| {
            let key = random.random_range(0..KEYS);
            numbers[key] += 1;
            let name = format!("{of}-{key}");
            let message = Message::new(format!("{name}:{}", numbers[key])).with_key(name);
            Send::new(Destination::Channel(channel("q")), message)
        });
        let outcomes = publish(&broker, sends.collect::<Vec<_>>()).await;
        assert!(outcomes.iter().all(Outcome::is_confirmed));
        tokio::task::yield_now().await;
    }
}

/// Acks, releases and crashes at random until everything is handled. Whatever the fate, it keeps
/// the contract: a released delivery takes the rest of the batch with it.
async fn consumer(
    broker: Arc<dyn Broker>,
    ledger: Arc<Mutex<Ledger>>,
    done: CancellationToken,
    seed: u64,
) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let prefetch = random.random_range(1..100);
        let consumer = consume(&broker, "q", "q", prefetch).await;
        loop {
            let max = random.random_range(1..64);
            let batch = tokio::select! {
                batch = consumer.recv(max) => batch.unwrap(),
                () = done.cancelled() => return,
            };
            let fate = random.random_range(0..100);
            if fate < 3 {
                break;
            }
            let cut = if fate < 20 { random.random_range(0..=batch.len()) } else { batch.len() };
            // Entered before the ack: afterwards the next of the key may be handled elsewhere.
            for delivery in &batch[..cut] {
                ledger.lock().unwrap().handled(&payload(delivery));
            }
            ack(&consumer, &batch[..cut]).await;
            release(&consumer, &batch[cut..]).await;
            if ledger.lock().unwrap().handled.len() == PUBLISHERS * EACH {
                done.cancel();
            }
        }
    }
}

async fn run(spec: ChannelSpec, keeps_order: bool) {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let server = MemoryServer::default();
    let broker = connect(&server, vec![spec]).await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let done = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..PUBLISHERS {
        tasks.spawn(publisher(Arc::clone(&broker), n, seed.wrapping_add(n as u64)));
    }
    for n in 0..CONSUMERS {
        let seed = seed.wrapping_add(100 + n as u64);
        tasks.spawn(consumer(Arc::clone(&broker), Arc::clone(&ledger), done.clone(), seed));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let ledger = ledger.lock().unwrap();
    assert_eq!((ledger.handled.len(), ledger.duplicates), (PUBLISHERS * EACH, 0));
    if keeps_order {
        assert_eq!(ledger.disorder, Vec::<String>::new());
    }
    assert_eq!(server.used_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crashing_consumers_handle_everything_once_and_keys_in_order() {
    run(ordered("q"), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn crashing_consumers_of_an_unordered_queue_handle_everything_once() {
    run(queue("q"), false).await;
}
