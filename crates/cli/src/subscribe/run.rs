use std::io::{self, IsTerminal};
use std::pin::Pin;
use std::time::Duration;

use polymq::config::Config;
use polymq::{App, DrainReport, Running, stop_requested};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::gate::{Gate, State};
use super::idle::Idle;
use crate::exit::{Exit, Failure, say};
use crate::output::Progress;

/// How often the line on stderr is renewed.
const REFRESH: Duration = Duration::from_millis(250);

/// Starts the consumer, waits for its end, and drains it.
pub(super) struct Watch<'a> {
    pub(super) consumer: &'a str,
    pub(super) idle: Option<Duration>,
    pub(super) gate: Gate,
}

type Stop = Pin<Box<dyn Future<Output = ()>>>;

impl Watch<'_> {
    pub(super) async fn run(self, app: App, config: Config) -> Result<Exit, Failure> {
        let mut stop: Stop = Box::pin(stop_requested());
        let running = tokio::select! {
            running = app.start(config) => running?,
            () = &mut stop => return Ok(Exit::Stopped),
        };
        self.until_the_end(&running, &mut stop).await?;
        // Whoever was refused waits for this.
        running.pause(self.consumer)?;
        self.gate.set_paused(true);
        let mut again: Stop = Box::pin(stop_requested());
        let report = tokio::select! {
            report = running.drain() => report,
            () = &mut again => {
                say("polymq: stopped by a second signal, undrained");
                return Ok(Exit::Stopped);
            }
        };
        say(&report.to_string());
        match self.gate.watch().borrow().failure() {
            Some(kind) if kind != io::ErrorKind::BrokenPipe => Err(Failure::Stdout(kind.into())),
            _ => Ok(exit(&report)),
        }
    }

    /// Until a signal, the count, the idle time or a closed stdout.
    async fn until_the_end(&self, running: &Running, stop: &mut Stop) -> Result<(), Failure> {
        let mut gate = self.gate.watch();
        let mut idle = self.idle.map(|limit| Idle::new(limit, Instant::now()));
        let mut look = interval(idle.as_ref().map_or(REFRESH, Idle::period).min(REFRESH));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Where messages are shown, they are the progress.
        let progress = Progress::start(!io::stdout().is_terminal());
        loop {
            tokio::select! {
                () = &mut *stop => return Ok(()),
                _ = gate.changed() => {
                    if self.follow(running, &mut gate)? {
                        return Ok(());
                    }
                }
                now = look.tick() => {
                    let state = running.state(self.consumer)?;
                    if idle.as_mut().is_some_and(|idle| idle.is_over((&state).into(), now)) {
                        return Ok(());
                    }
                    progress.say(|| {
                        let attached = if state.broker.attached { "attached" } else { "waiting" };
                        let tally = &state.tally;
                        let (handled, retried) = (tally.handled, tally.retried);
                        let dead = tally.dead_letters();
                        format!("{attached}: {handled} handled, {retried} retried, {dead} dead")
                    });
                }
            }
        }
    }

    /// Pauses intake while nothing may enter; says whether this is the end.
    fn follow(
        &self,
        running: &Running,
        gate: &mut watch::Receiver<State>,
    ) -> Result<bool, Failure> {
        let state = *gate.borrow_and_update();
        if state.is_over() {
            return Ok(true);
        }
        match (state.is_shut(), state.is_paused()) {
            (true, false) => running.pause(self.consumer)?,
            (false, true) => running.resume(self.consumer)?,
            _ => return Ok(false),
        }
        self.gate.set_paused(state.is_shut());
        Ok(false)
    }
}

fn exit(report: &DrainReport) -> Exit {
    match (report.stuck(), report.is_clean()) {
        (1.., _) => Exit::Internal,
        (0, true) => Exit::Done,
        (0, false) => Exit::CutShort,
    }
}
