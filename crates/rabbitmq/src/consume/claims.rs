//! Which consumer of a group reads which partition.
//!
//! A partition is a queue with a single active consumer, which keeps its order whoever attaches. The
//! consumers share the partitions without talking to each other: each counts the group by the consumers
//! of its retry inbox, takes no more than its share, and only what nobody has. Priorities could do it
//! too, but RabbitMQ 4.3 forgets to let go of a consumer that ends while one of higher priority waits.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use polymq_core::broker::{Event, EventSender};
use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::time::{Instant, timeout_at};

use super::attachment::Attachment;
use super::plan::{self, Refusal, Wanted};
use super::state::Shared;
use crate::error;
use crate::link::Session;

/// How often a consumer looks at how the group stands, in milliseconds: about once a second, and not
/// when the others do.
const TURN: std::ops::Range<u64> = 700..1_200;

/// For so many turns after a change a consumer with less than its share looks for more each time;
/// then only each [`SELDOM`]th time, as others may hold what is left for good.
const RESTLESS: u32 = 10;
const SELDOM: u32 = 4;

/// When a claim that brought nothing is tried for the first and for every further time.
const FIRST_TRIAL: Duration = Duration::from_millis(300);
const LAST_TRIAL: Duration = Duration::from_secs(64);

/// The partitions that one consumer holds and wants.
#[derive(Debug)]
pub(super) struct Claims {
    shared: Arc<Shared>,
    events: EventSender,
    /// The partitions.
    wanted: Vec<Wanted>,
    /// Consumed by every consumer of the group.
    inbox: ShortString,
    /// How long a partition that is given up may wait for what is in hand.
    max_hold: Duration,
    /// For questions.
    asking: Option<Attachment>,
    /// The consumers of the group.
    consumers: usize,
    /// How often it was looked for more, since something changed.
    looks: u32,
    trials: Vec<Trial>,
    next_turn: Instant,
}

/// Whether a claim holds.
///
/// Two consumers may find a partition free at the same time and attach to it; the broker serves one of
/// them and tells neither. Whoever was served holds it; whoever was not lets go of it now and then, and
/// looks who has it.
#[derive(Debug, Clone, Copy)]
struct Trial {
    at: Instant,
    wait: Duration,
}

impl Trial {
    fn new() -> Self {
        Self { at: Instant::now(), wait: FIRST_TRIAL }
    }

    fn put_off(&mut self) {
        self.at = Instant::now() + self.wait.mul_f64(rand::rng().random_range(0.5..1.5));
        self.wait = (self.wait * 2).min(LAST_TRIAL);
    }
}

impl Claims {
    pub(super) fn new(
        shared: &Arc<Shared>,
        events: &EventSender,
        wanted: Vec<Wanted>,
        inbox: ShortString,
        max_hold: Duration,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            events: events.clone(),
            trials: vec![Trial::new(); wanted.len()],
            wanted,
            inbox,
            max_hold,
            asking: None,
            consumers: 0,
            looks: 0,
            next_turn: Instant::now(),
        }
    }

    /// When to look again.
    pub(super) fn next_turn(&self) -> Instant {
        self.next_turn
    }

    /// Gives up what is above the share of this consumer, or claims what is free below it, by `deadline`.
    ///
    /// # Errors
    /// What the broker says about the first queue that could not be read; the others are claimed all the
    /// same.
    pub(super) async fn turn(
        &mut self,
        session: &Session,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let pause = rand::rng().random_range(TURN);
        self.next_turn = Instant::now() + Duration::from_millis(pause);
        let inbox = self.inbox.clone();
        let consumers = self.count(&inbox, session, deadline).await?.max(1);
        if consumers != self.consumers {
            (self.consumers, self.looks) = (consumers, 0);
        }
        self.yield_surplus();
        self.try_claims(session, deadline).await?;
        self.look_for_more(session, deadline).await
    }

    /// Claims a partition again that this consumer has just let go of, if it is its turn.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub(super) async fn claim_again(
        &mut self,
        partition: usize,
        session: &Session,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        self.looks = 0;
        if self.missing() > 0 {
            self.trials[partition] = Trial::new();
            self.claim(partition, session, deadline).await?;
        }
        Ok(())
    }

    /// The most partitions that one consumer holds.
    fn share(&self) -> usize {
        self.wanted.len().div_ceil(self.consumers.max(1))
    }

    /// How many partitions to claim. Whoever is paused claims none: it may be about to leave.
    fn missing(&self) -> usize {
        let state = self.shared.lock();
        let held = state.lanes.iter().filter(|lane| lane.partition.is_some()).count();
        if state.paused { 0 } else { self.share().saturating_sub(held) }
    }

    /// Stops those partitions above the share of which the least is in hand. They are let go when nothing
    /// of them is.
    fn yield_surplus(&self) {
        let deadline = Instant::now() + self.max_hold;
        let (mut tokens, mut partitions) = (Vec::new(), Vec::new());
        let mut state = self.shared.lock();
        let mut open: Vec<_> = state.lanes.iter_mut().filter(|lane| lane.is_open()).collect();
        open.retain(|lane| lane.partition.is_some());
        open.sort_by_key(|lane| lane.watermark.in_hand());
        let surplus = open.len().saturating_sub(self.share());
        for lane in open.into_iter().take(surplus) {
            lane.stop(deadline);
            let token = |slot| self.shared.tokens.token(lane.number, slot);
            tokens.extend(lane.watermark.tags_in_hand().map(token));
            partitions.extend(lane.partition.and_then(|n| u32::try_from(n).ok()));
        }
        if partitions.is_empty() {
            return;
        }
        state.has_changed = true;
        drop(state);
        self.shared.receiver.wake();
        self.events.send(Event::Revoked { tokens, partitions, deadline });
    }

    /// Lets go of claims that have brought nothing so far, and claims them again if nobody has them.
    async fn try_claims(&mut self, session: &Session, deadline: Instant) -> Result<(), Refusal> {
        let now = Instant::now();
        for partition in 0..self.wanted.len() {
            if self.trials[partition].at > now || self.shared.lock().room() == 0 {
                continue;
            }
            let brought_nothing = self.shared.give_up(|lane| {
                lane.partition == Some(partition) && lane.is_open() && lane.watermark.is_untouched()
            });
            for claim in brought_nothing {
                // One that cannot be closed in time ends with its connection.
                let _ = claim.close(deadline).await;
                self.claim(partition, session, deadline).await?;
            }
        }
        Ok(())
    }

    async fn look_for_more(&mut self, session: &Session, deadline: Instant) -> Result<(), Refusal> {
        let mut missing = self.missing();
        if missing == 0 {
            return Ok(());
        }
        self.looks = self.looks.saturating_add(1);
        if self.looks > RESTLESS && !self.looks.is_multiple_of(SELDOM) {
            return Ok(());
        }
        let (mut claimed, mut refused) = (Vec::new(), Ok(()));
        for partition in self.others() {
            self.trials[partition] = Trial::new();
            match self.claim(partition, session, deadline).await {
                Ok(true) => claimed.extend(u32::try_from(partition)),
                Ok(false) => continue,
                Err(refusal) if session.is_up() => {
                    refused = refused.and(Err(refusal));
                    continue;
                }
                Err(refusal) => return Err(refusal),
            }
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
        if !claimed.is_empty() {
            self.looks = 0;
            self.events.send(Event::Assigned { partitions: claimed });
        }
        refused
    }

    /// The partitions that this consumer doesn't hold, in an order of its own.
    fn others(&self) -> Vec<usize> {
        let state = self.shared.lock();
        let is_held = |n: &usize| state.lanes.iter().any(|lane| lane.partition == Some(*n));
        let mut others: Vec<_> = (0..self.wanted.len()).filter(|n| !is_held(n)).collect();
        others.shuffle(&mut rand::rng());
        others
    }

    /// Claims a partition; says whether it was free.
    async fn claim(
        &mut self,
        partition: usize,
        session: &Session,
        deadline: Instant,
    ) -> Result<bool, Refusal> {
        let queue = self.wanted[partition].queue.clone();
        if self.count(&queue, session, deadline).await? > 0 {
            return Ok(false);
        }
        let wanted = std::slice::from_ref(&self.wanted[partition]);
        let attached = plan::attach(wanted, session, deadline).await?;
        self.shared.install(attached, Some(partition));
        self.trials[partition].put_off();
        Ok(true)
    }

    /// How many consumers a queue serves.
    async fn count(
        &mut self,
        queue: &ShortString,
        session: &Session,
        deadline: Instant,
    ) -> Result<usize, Refusal> {
        // A refusal ends the AMQP channel, and so does a lost connection.
        let asking = match self.asking.take().filter(Attachment::is_up) {
            Some(asking) => asking,
            None => Attachment::open(session, deadline).await?,
        };
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = asking.channel.queue_declare(queue.clone(), options, FieldTable::default());
        let answer = timeout_at(deadline, asked)
            .await
            .map_err(|_| error::late("the broker did not say in time who consumes a partition"))?;
        let found = answer.map_err(|error| Refusal::of(queue, &error))?;
        self.asking = Some(asking);
        Ok(found.consumer_count() as usize)
    }
}
