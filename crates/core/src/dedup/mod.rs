//! Deduplication: one effect per message within a window, without losing a message to it.
//!
//! A deduplicator that marks an id as seen *before* the handler ran loses the message when the
//! process dies in between. So an id is *claimed* under a lease, and only *committed* once its
//! outputs are confirmed; a claim that dies with its process runs out, and the message is handled by
//! whoever gets it next.
//!
//! The pipeline's order: claim → handler → renew → outputs confirmed → commit → ack; after a failure:
//! retry copy confirmed → hand over → ack.

mod guarded;
mod memory;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use smol_str::{SmolStr, format_smolstr};

pub(crate) use guarded::Guarded;
pub use memory::MemoryDedupStore;

use crate::Result;
use crate::model::{ChannelName, GroupName};

/// What a store remembers: channel, group, the message's identity, and how often it was replayed,
/// so that a replay from a dead-letter channel is never swallowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey(SmolStr);

impl DedupKey {
    /// The key of a message in a group. Channel and group hold no `/`, so keys cannot collide.
    #[must_use]
    pub fn new(channel: &ChannelName, group: &GroupName, identity: &str, replay: u32) -> Self {
        Self(format_smolstr!("{channel}/{group}/{replay}/{identity}"))
    }

    /// The key as text, for stores.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DedupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells the holder of a claim from an earlier one whose lease ran out. Each claim of a key gets a
/// larger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// A wish to handle a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The message's key.
    pub key: DedupKey,
    /// Which attempt this would be.
    pub attempt: u32,
    /// How long the claim holds without being renewed.
    pub lease: Duration,
}

/// The answer to a [`ClaimRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Yours until the lease ends.
    Granted(Fence),
    /// Somebody else's, for at most this long unless renewed. Not handled yet: never ack it.
    Held(Duration),
    /// Handled within the window: ack it.
    Done,
    /// Handed over to a later attempt, whose copy is on its way: this one is the leftover of a
    /// crash between copy and ack. Ack it.
    Superseded,
}

/// A claim that its holder speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The key.
    pub key: DedupKey,
    /// The fence that came with the claim.
    pub fence: Fence,
}

/// A failed attempt whose retry copy is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// The claim to give up.
    pub held: Held,
    /// The attempt that the copy is for: earlier ones are superseded from now on.
    pub attempt: u32,
    /// How long to remember it: the copy's delay and the window.
    pub retain: Duration,
}

/// Remembers which messages were handled. Shared by every process of a group.
///
/// All methods take batches and answer per item, in order. An `Err` means that nothing is known
/// about any item; every method can then be called again with the same arguments. A call that takes
/// longer than 5 s, or panics, counts as failed, and may take effect all the same. `false` means
/// that the claim was lost: its lease ran out and somebody else has claimed or finished the key.
#[async_trait]
pub trait DedupStore: fmt::Debug + Send + Sync + 'static {
    /// Claims keys. Two requests for the same key in one batch are decided one after the other.
    ///
    /// # Errors
    /// `Store` when the store cannot be reached or has no room for another live claim.
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Claim>>;

    /// Makes leases last `lease` from now; revives one that ran out unless the key was claimed
    /// since.
    ///
    /// # Errors
    /// `Store`, as above.
    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<bool>>;

    /// Marks keys as handled, for `retain`. Committing again is `true` again.
    ///
    /// # Errors
    /// `Store`, as above.
    async fn commit(&self, held: &[Held], retain: Duration) -> Result<Vec<bool>>;

    /// Records hand-overs to later attempts and gives the claims up.
    ///
    /// # Errors
    /// `Store`, as above.
    async fn hand_over(&self, handed: &[HandOver]) -> Result<Vec<bool>>;

    /// Gives claims up without an outcome: anybody may claim the keys at once. Lost claims are
    /// passed over.
    ///
    /// # Errors
    /// `Store`, as above: the leases will run out.
    async fn release(&self, held: &[Held]) -> Result<()>;
}
