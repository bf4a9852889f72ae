//! A lane: one AMQP channel, one message in flight.

use std::sync::Arc;

use lapin::Channel;
use polymq_core::broker::Outcome;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::Shared;
use super::batch::Job;
use super::open::{confirming, unblocked};
use super::pump::{answer, write};
use crate::error;
use crate::link::{Session, State};

/// Serves single messages until there are no more.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut link: watch::Receiver<State>,
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
) {
    let mut lane = Lane { shared, channel: None };
    loop {
        let job = jobs.lock().await.recv().await;
        let Some(mut job) = job else { return };
        while !job.batch.is_over() && !lane.carry(&mut link, &mut job).await {
            if matches!(&*link.borrow(), State::Closed) {
                return;
            }
        }
    }
}

struct Lane {
    shared: Arc<Shared>,
    /// Opened when there is something to carry.
    channel: Option<(Session, Arc<Channel>)>,
}

impl Lane {
    /// Writes a message and waits for the answer. `false`: it is to be written again.
    async fn carry(&mut self, link: &mut watch::Receiver<State>, job: &mut Job) -> bool {
        let deadline = job.batch.deadline;
        let Some((session, channel)) = self.channel(link, deadline).await else { return false };
        if unblocked(&session, link, deadline).await.is_err() {
            return false;
        }
        let Some(item) = job.items.first_mut() else { return true };
        if !job.batch.begin(std::slice::from_ref(item)) {
            return true;
        }
        let Some(route) = self.shared.router.route(&item.send) else {
            let destination = &item.send.destination;
            let error = self.shared.describe(error::unroutable(destination), destination);
            let outcome = item.all_told(Outcome::Rejected(error));
            job.batch.resolve(std::iter::once((item.index, outcome)));
            return true;
        };
        item.route = route;
        let mandatory = self.shared.router.is_mandatory(&item.send.destination);
        let mut writing = write(&self.shared, &channel, item, mandatory, None);
        let outcome = match answer(&mut writing).await {
            Ok(answer) => {
                self.shared.suspects.clear(&item.route.exchange);
                Some(self.shared.answered(&answer, item))
            }
            Err(reason) => {
                self.channel = None;
                // A step that isn't there is no failure as long as there are others.
                let missing = error::is_not_found(&reason);
                if missing && self.shared.router.forget(&item.route.exchange) {
                    None
                } else {
                    self.shared.accused(&reason, item)
                }
            }
        };
        let Some(outcome) = outcome else { return false };
        job.batch.resolve(std::iter::once((item.index, outcome)));
        true
    }

    async fn channel(
        &mut self,
        link: &mut watch::Receiver<State>,
        deadline: Instant,
    ) -> Option<(Session, Arc<Channel>)> {
        let usable = |(session, channel): &(Session, Arc<Channel>)| {
            session.is_up() && channel.status().connected()
        };
        if !self.channel.as_ref().is_some_and(usable) {
            let (session, channel) = confirming(link, deadline).await?;
            self.channel = Some((session, Arc::new(channel)));
        }
        self.channel.clone()
    }
}
