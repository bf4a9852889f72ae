//! One assigned partition: its track, what of it is committed, and how it may be handed out.
//!
//! Kafka counts no deliveries. What would count a crash is kept beside the committed offset: in how many
//! starts the message there has been handed out. It is written before that message is handed out for the
//! first time, and put back when the partition is let go in good order; after a crash it stays.

use polymq_core::Origin;

use super::track::{HandOut, Record, Track};

/// From this start on with the same message at the front, messages go out one by one, so that it is known
/// which one ends the process.
const SUSPICIOUS: u32 = 3;

/// How many messages of a partition that waits, or goes one by one, are fetched ahead, and how many bytes.
const LOOKAHEAD: (usize, usize) = (64, 1 << 20);

/// What tells partitions apart: the source, and the number within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) origin: Origin,
    pub(crate) partition: u32,
}

/// Where a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) key: Key,
    pub(crate) offset: i64,
    /// In how many starts the message there has been handed out; `None` when nothing is committed.
    pub(crate) starts: Option<u32>,
}

/// What is to be committed, or was: an offset, and in how many starts the message there was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) key: Key,
    pub(crate) offset: i64,
    pub(crate) starts: u32,
}

/// Whether the first hand-out has been announced in the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// There was nothing to hand out.
    Idle,
    /// As soon as it is committed.
    Wanted,
    /// It is.
    Open,
}

/// What is on its way to the broker.
#[derive(Debug, Clone, Copy)]
struct Committing {
    /// The offset, with its starts.
    what: (i64, u32),
    /// How many messages it confirms.
    count: usize,
    /// It announces the first hand-out.
    opens: bool,
}

#[derive(Debug)]
pub(super) struct Partition<T> {
    pub(super) key: Key,
    /// Tells the assignments of this consumer apart.
    pub(super) number: u32,
    pub(super) track: Track<T>,
    start: Start,
    pub(super) opening: Opening,
    /// What the broker has confirmed.
    committed: Option<(i64, u32)>,
    /// Done, behind which there is nothing unfinished, and not confirmed by the broker.
    uncommitted: usize,
    committing: Option<Committing>,
    /// It is to be committed again, as it is.
    is_old: bool,
    /// How many messages are still to be handed out one by one.
    careful: usize,
    /// It is being taken away.
    pub(super) is_leaving: bool,
    /// Its next offset does not exist: somebody has to decide.
    pub(super) is_lost: bool,
    /// Not fetched from.
    pub(super) is_paused: bool,
    /// Where another assignment to this consumer had come to.
    seen: i64,
    /// The end of what was handed out.
    handed: i64,
}

impl<T: Clone> Partition<T> {
    /// `seen` is what [`handed`](Self::handed) was when the partition was here before; `in_flight` is how
    /// many messages may have been in hand when a process crashed.
    pub(super) fn new(number: u32, start: Start, seen: i64, in_flight: usize) -> Self {
        let starts = start.starts.unwrap_or(0);
        Self {
            key: start.key,
            number,
            track: Track::new(start.offset),
            start,
            opening: Opening::Idle,
            committed: start.starts.map(|starts| (start.offset, starts)),
            uncommitted: 0,
            committing: None,
            is_old: false,
            careful: if starts + 1 >= SUSPICIOUS { in_flight } else { 0 },
            is_leaving: false,
            is_lost: false,
            is_paused: false,
            seen,
            handed: seen,
        }
    }

    pub(super) fn push(&mut self, record: Record<T>) {
        self.uncommitted += self.track.push(record);
    }

    /// Whether something would be handed out now, but for what the consumer as a whole may.
    pub(super) fn is_ready(&self, now: u64) -> bool {
        let is_alone = self.careful == 0
            || (self.track.in_hand() == 0
                && self.committed.is_some_and(|(offset, _)| offset == self.track.position()));
        !self.is_leaving && is_alone && self.track.next_release().is_some_and(|at| at <= now)
    }

    /// The next record, with how often it has been handed out in as far as is known.
    pub(super) fn hand_out(&mut self, now: u64, generation: u32) -> Option<(HandOut<T>, u32)> {
        let mut out = self.track.hand_out(now, generation)?;
        let is_first = out.sequence == 0;
        let starts = self.start.starts.filter(|_| is_first).unwrap_or(0);
        out.again |= starts > 0 || out.offset < self.seen;
        self.handed = self.handed.max(out.offset + 1);
        Some((out, starts + 1))
    }

    /// See [`Track::ack`].
    pub(super) fn ack(&mut self, sequence: u64, generation: u32) -> Option<()> {
        self.uncommitted += self.track.ack(sequence, generation)?;
        self.careful = self.careful.saturating_sub(1);
        Some(())
    }

    /// What was handed out of this partition ends here.
    pub(super) fn handed(&self) -> i64 {
        self.handed
    }

    /// Handed out one by one, for now.
    pub(super) fn is_careful(&self) -> bool {
        self.careful > 0
    }

    /// Done, and repeated after a crash.
    pub(super) fn uncommitted(&self) -> usize {
        self.uncommitted + self.track.stranded()
    }

    /// What a commit could confirm right now.
    pub(super) fn committable(&self) -> usize {
        self.uncommitted
    }

    /// Everything that could be, is committed: as work goes on, or, to the letter, where it ends.
    pub(super) fn is_committed(&self, at_the_end: bool) -> bool {
        let (offset, starts) = self.wanted();
        self.committed.is_some_and(|(o, s)| o == offset && (s == starts || !at_the_end))
            && self.opening != Opening::Wanted
            && !self.is_old
    }

    /// What is committed is to be committed again.
    pub(super) fn renew(&mut self) {
        self.is_old = true;
    }

    /// What is to be committed next; it is on its way from here on.
    pub(super) fn begin_commit(&mut self) -> Commit {
        let what = self.wanted();
        let opens = self.opening == Opening::Wanted;
        self.committing = Some(Committing { what, count: self.uncommitted, opens });
        Commit { key: self.key, offset: what.0, starts: what.1 }
    }

    /// What was on its way has arrived, or not.
    pub(super) fn end_commit(&mut self, has_arrived: bool) {
        let Some(Committing { what, count, opens }) = self.committing.take() else { return };
        if has_arrived {
            self.committed = Some(what);
            self.is_old = false;
            self.uncommitted -= count;
            if opens {
                self.open();
            }
        }
    }

    /// Hands out although its first hand-out could not be announced.
    pub(super) fn open(&mut self) {
        if self.opening == Opening::Wanted {
            self.opening = Opening::Open;
        }
    }

    /// Whether fetching from it is to stop, or to stay stopped.
    pub(super) fn is_full(&self, now: u64) -> bool {
        let (count, bytes) = match self.waits(now) {
            true => LOOKAHEAD,
            false => return self.is_lost,
        };
        let part = if self.is_paused { 2 } else { 1 };
        self.is_lost || self.track.buffered() >= count / part || self.track.bytes() >= bytes / part
    }

    /// How many more messages are fetched ahead while it waits.
    pub(super) fn lookahead(&self) -> usize {
        let fits = self.track.bytes() < LOOKAHEAD.1;
        if fits { LOOKAHEAD.0.saturating_sub(self.track.buffered()) } else { 0 }
    }

    /// What is buffered of it is not for now.
    pub(super) fn waits(&self, now: u64) -> bool {
        self.is_careful() || self.track.next_release().is_some_and(|at| at > now)
    }

    /// The offset up to which all is done, and in how many starts the message there was handed out, this
    /// one included where it is in hand or about to be.
    fn wanted(&self) -> (i64, u32) {
        let position = self.track.position();
        let before = self.start.starts.filter(|_| position == self.start.offset).unwrap_or(0);
        let now = self.opening == Opening::Wanted || self.track.is_front_in_hand();
        (position, before + u32::from(now))
    }
}
