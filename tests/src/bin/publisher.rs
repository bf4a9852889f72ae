//! A publisher in a process of its own: it writes down what it was told about every message.
//!
//! `publisher CONFIG JOURNAL TASKS EACH PAUSE`: each of TASKS tasks publishes EACH messages to `orders`, one
//! after the other, with PAUSE milliseconds between them; fewer after a SIGTERM. The messages of a task have one key, and ids
//! that end in their number. What is not confirmed is sent again under the same id, as a service would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use polymq::broker::Outcome;
use polymq::prelude::*;
use polymq_tests::real::{Deed, Journal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

#[derive(Clone)]
struct Task {
    publisher: Publisher,
    journal: Arc<Journal>,
    stops: Arc<AtomicBool>,
    each: usize,
    pause: Duration,
}

impl Task {
    /// Publishes everything of one key, the first of it after `delay`.
    async fn publish_all(self, key: String, delay: Duration) -> Result<(), polymq::Error> {
        tokio::time::sleep(delay).await;
        for n in (0..self.each).take_while(|_| !self.stops.load(Ordering::Relaxed)) {
            let id = format!("{key}-{n}");
            while !self.publish(&id, &key).await? {}
            tokio::time::sleep(self.pause).await;
        }
        Ok(())
    }

    async fn publish(&self, id: &str, key: &str) -> Result<bool, polymq::Error> {
        let message = Message::new(id.to_owned()).with_id(id).with_key(key.to_owned());
        self.note(Deed::Sent, id)?;
        let outcomes = self.publisher.publish_all("orders", [message]).await?;
        let outcome = &outcomes[0];
        let deed = match outcome {
            Outcome::Confirmed(_) => Deed::Confirmed,
            Outcome::Unconfirmed(_) => Deed::Unconfirmed,
            Outcome::Rejected(_) => Deed::Rejected,
        };
        self.note(deed, id)?;
        Ok(outcome.is_confirmed())
    }

    fn note(&self, deed: Deed, id: &str) -> Result<(), polymq::Error> {
        self.journal.note(deed, id, 0).map_err(|e| {
            polymq::Error::new(polymq::ErrorKind::Other, "the journal fails").with_source(e)
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, journal, tasks, each, pause] = &arguments[..] else {
        return Err("publisher CONFIG JOURNAL TASKS EACH PAUSE".into());
    };
    let app = polymq::app();
    let config = app.load(config)?;
    let running = app.start(config).await?;
    let task = Task {
        publisher: running.publisher(),
        journal: Arc::new(Journal::open(journal)?),
        stops: Arc::default(),
        each: each.parse()?,
        pause: Duration::from_millis(pause.parse()?),
    };
    let (mut stop, stops) = (signal(SignalKind::terminate())?, Arc::clone(&task.stops));
    tokio::spawn(async move {
        stop.recv().await;
        stops.store(true, Ordering::Relaxed);
    });
    let mut publishing = JoinSet::new();
    let tasks: u32 = tasks.parse()?;
    for n in 0..tasks {
        // Spread over the pause, so that messages come one by one and not in bursts.
        publishing.spawn(task.clone().publish_all(format!("k{n}"), task.pause * n / tasks));
    }
    while let Some(done) = publishing.join_next().await {
        done??;
    }
    let report = running.drain().await;
    if report.is_clean() { Ok(()) } else { Err(report.to_string().into()) }
}
