use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polymq_core::Result;
use polymq_core::dedup::{Claim, ClaimRequest, DedupStore, HandOver, Held};

use super::{Faults, Operation};

/// A deduplication store that misbehaves on command.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn DedupStore>,
    faults: Faults,
}

impl FaultyStore {
    /// Wraps a store under a handle that the adapter's wrapper shares.
    #[must_use]
    pub fn new(inner: Arc<dyn DedupStore>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DedupStore for FaultyStore {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Claim>> {
        self.faults.effect(Operation::Claim, self.inner.claim(requests)).await?
    }

    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<bool>> {
        self.faults.effect(Operation::Renew, self.inner.renew(held, lease)).await?
    }

    async fn commit(&self, held: &[Held], retain: Duration) -> Result<Vec<bool>> {
        self.faults.effect(Operation::CommitClaim, self.inner.commit(held, retain)).await?
    }

    async fn hand_over(&self, handed: &[HandOver]) -> Result<Vec<bool>> {
        self.faults.effect(Operation::HandOver, self.inner.hand_over(handed)).await?
    }

    async fn release(&self, held: &[Held]) -> Result<()> {
        self.faults.effect(Operation::Release, self.inner.release(held)).await?
    }
}
