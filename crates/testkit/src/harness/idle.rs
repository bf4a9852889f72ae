use std::fmt;
use std::time::Duration;

use polymq_core::broker::Source;
use polymq_core::config::ConsumerConfig;
use polymq_core::memory::MemoryServer;
use polymq_core::{ConsumerName, Running};
use tokio::time::{Instant, sleep, timeout_at};

use super::place::{Pace, Place};

/// What keeps an app from being idle.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    sources: Vec<String>,
    consumers: Vec<String>,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.sources.iter().chain(&self.consumers) {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

impl Busy {
    /// Looks at every consumer that runs, at the two sources that it consumes, and at the place.
    async fn look(running: &Running, place: Option<&Place>) -> Option<Self> {
        let mut busy = Self::default();
        for name in running.consumers() {
            if let Some(config) = running.config().consumers.get(name) {
                busy.look_at_sources(running, config).await;
            }
            busy.look_at_hand(running, name);
        }
        if let Some(place) = place {
            match place.delayed().await {
                Ok(0) => {}
                Ok(delayed) => busy.sources.push(format!("{delayed} on their way, delayed")),
                Err(error) => busy.sources.push(format!("what is delayed: {error}")),
            }
        }
        (!busy.sources.is_empty() || !busy.consumers.is_empty()).then_some(busy)
    }

    async fn look_at_sources(&mut self, running: &Running, consumer: &ConsumerConfig) {
        let (channel, group) = (consumer.channel.clone(), consumer.group.clone());
        let Ok(broker) = running.broker_of(channel.as_str()) else { return };
        let sources = [
            Source::Group { channel: channel.clone(), group: group.clone() },
            Source::RetryInbox { channel, group },
        ];
        for source in sources {
            match broker.admin().depth(&source).await {
                Ok(depth) if depth.total() == 0 => {}
                Ok(depth) => {
                    let told =
                        |figure: Option<u64>| figure.map_or("?".to_owned(), |n| n.to_string());
                    self.sources.push(format!(
                        "{source}: {} ready, {} in flight, {} delayed",
                        depth.ready,
                        told(depth.in_flight),
                        told(depth.delayed)
                    ));
                }
                Err(error) => self.sources.push(format!("{source}: {error}")),
            }
        }
    }

    fn look_at_hand(&mut self, running: &Running, name: &ConsumerName) {
        let Ok(state) = running.state(name.as_str()) else { return };
        let buffered = state.broker.buffered;
        if buffered + state.waiting + state.running + state.settling == 0 {
            return;
        }
        let paused = match (state.paused, state.breaker_open) {
            (true, _) => ", paused",
            (false, true) => ", its breaker is open",
            (false, false) => "",
        };
        self.consumers.push(format!(
            "consumer `{name}`: {buffered} fetched, {} waiting, {} with their handler, {} being \
             settled{paused}",
            state.waiting, state.running, state.settling
        ));
    }
}

/// Waits until nothing that `running` consumes is left: every source empty, every hand empty.
///
/// With tokio's time paused, whatever waits for its time is skipped to. With the `server` behind a
/// memory broker it waits for changes; without one it looks again and again, up to once a second.
///
/// # Errors
/// What was left where after `within`.
pub async fn idle(
    running: &Running,
    server: Option<&MemoryServer>,
    within: Duration,
) -> Result<(), Busy> {
    let place = server.cloned().map(Place::Memory);
    idle_in(running, place.as_ref(), within).await
}

/// [`idle`], on a broker in a place that is known.
pub(super) async fn idle_in(
    running: &Running,
    place: Option<&Place>,
    within: Duration,
) -> Result<(), Busy> {
    let deadline = Instant::now() + within;
    let pace = place.map_or(Pace::VIRTUAL, Place::pace);
    let server = place.and_then(Place::server);
    let (mut pause, mut quiet) = (pace.first, 0);
    loop {
        let seen = server.map(MemoryServer::version);
        let busy = Busy::look(running, place).await;
        quiet = if busy.is_none() { quiet + 1 } else { 0 };
        if quiet == pace.looks {
            return Ok(());
        }
        let queued = busy.as_ref().is_some_and(|busy| !busy.sources.is_empty());
        match busy {
            Some(busy) if Instant::now() >= deadline => return Err(busy),
            _ => {}
        }
        match (server, seen) {
            (Some(server), Some(seen)) if queued => {
                // At the deadline it is looked at once more.
                let _ = timeout_at(deadline, server.changed(seen)).await;
                pause = pace.first;
            }
            _ => {
                sleep(pause).await;
                pause = (pause * 2).min(pace.longest);
            }
        }
    }
}
