use std::fmt;

/// Something that a pipeline asks of its broker or its deduplication store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `Broker::publish`.
    Publish,
    /// `Consumer::commit`: sends and acks, both or neither.
    Commit,
    /// `Consumer::settle`.
    Settle,
    /// `Consumer::extend`. No crash point: it changes nothing that outlives a process.
    Extend,
    /// `DedupStore::claim`.
    Claim,
    /// `DedupStore::renew`.
    Renew,
    /// `DedupStore::commit`.
    CommitClaim,
    /// `DedupStore::hand_over`.
    HandOver,
    /// `DedupStore::release`.
    Release,
}

impl Operation {
    /// Those that a crash can interrupt, in the order of a message's way.
    pub const CRASH_POINTS: [Self; 8] = [
        Self::Claim,
        Self::Renew,
        Self::Publish,
        Self::CommitClaim,
        Self::HandOver,
        Self::Commit,
        Self::Settle,
        Self::Release,
    ];

    /// The operation's name in errors and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Commit => "commit",
            Self::Settle => "settle",
            Self::Extend => "extend",
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::CommitClaim => "commit of a claim",
            Self::HandOver => "hand-over",
            Self::Release => "release of a claim",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far an operation has come when a crash strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// Nothing has happened yet.
    Before,
    /// One half of a batch has happened. Operations on a single item are not counted here.
    Halfway,
    /// It has happened, and the caller hasn't learnt of it.
    After,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Halfway => "halfway through",
            Self::After => "after",
        })
    }
}

/// A moment at which a process can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CrashPoint {
    /// Which one, counted from 1 over all wrappers of one [`Faults`](super::Faults).
    pub n: usize,
    /// The operation.
    pub operation: Operation,
    /// Before, within or after its effect.
    pub when: When,
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crash point {}: {} {}", self.n, self.when, self.operation)
    }
}
