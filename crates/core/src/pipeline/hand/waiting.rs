//! Jobs that wait: for another attempt, for the breaker, for their time.

use std::cmp::Reverse;

use tokio::time::Instant;

use super::table::{Phase, Table};
use super::{Hand, Job};

impl Hand {
    /// Another attempt at once, before anything else.
    ///
    /// Like [`bar`](Hand::bar) and [`park`](Hand::park), it returns the job when there is no point
    /// in waiting: the hand is closing, or the broker took the delivery away, or is about to.
    pub(in crate::pipeline) fn again(&self, job: Job) -> Option<Job> {
        // The worker that gives it back comes for it.
        self.put_back(job, Phase::Waiting, |table, key| table.ready.push_front(key))
    }

    /// Holds a job back until the breaker lets it go.
    pub(in crate::pipeline) fn bar(&self, job: Job) -> Option<Job> {
        self.put_back(job, Phase::Waiting, |table, key| table.barred.push_back(key))
    }

    /// Lets `count` of the jobs go that the breaker held back; says how many went.
    pub(in crate::pipeline) fn unbar(&self, count: usize) -> usize {
        let mut table = self.lock();
        let count = count.min(table.barred.len());
        let freed: Vec<usize> = table.barred.drain(..count).collect();
        for key in freed.into_iter().rev() {
            table.ready.push_front(key);
        }
        drop(table);
        if count > 0 {
            self.work.notify_one();
        }
        count
    }

    /// Puts a job aside until `until`, holding its key and nothing else.
    pub(in crate::pipeline) fn park(&self, job: Job, until: Instant) -> Option<Job> {
        let number = {
            let mut table = self.lock();
            table.parkings += 1;
            table.parkings
        };
        let mut first = false;
        let back = self.put_back(job, Phase::Parked(number), |table, key| {
            first = table.timers.peek().is_none_or(|Reverse((at, ..))| until < *at);
            table.timers.push(Reverse((until, key, number)));
        });
        if first {
            self.timer_set.notify_one();
        }
        back
    }

    /// When the next parked job is due.
    pub(in crate::pipeline) fn next_timer(&self) -> Option<Instant> {
        self.lock().timers.peek().map(|Reverse((at, ..))| *at)
    }

    /// Gives the parked jobs that are due back to the workers.
    pub(in crate::pipeline) fn wake_due(&self, now: Instant) {
        let mut table = self.lock();
        while table.timers.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, key, number))) = table.timers.pop() else { break };
            let Some(entry) = table.entries.get_mut(key) else { continue };
            if entry.phase == Phase::Parked(number) {
                entry.phase = Phase::Waiting;
                table.ready.push_front(key);
            }
        }
        let any = !table.ready.is_empty();
        drop(table);
        if any {
            self.work.notify_one();
        }
    }

    fn put_back(
        &self,
        job: Job,
        phase: Phase,
        queue: impl FnOnce(&mut Table, usize),
    ) -> Option<Job> {
        let mut table = self.lock();
        let (key, closing) = (job.key, table.closing);
        match table.entries.get_mut(key) {
            Some(entry) if !entry.lost && !entry.revoked && !closing => {
                entry.held.clone_from(&job.held);
                entry.phase = phase;
                entry.job = Some(job);
                table.counts.running -= 1;
                table.counts.waiting += 1;
                queue(&mut table, key);
                None
            }
            _ => Some(job),
        }
    }
}
