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
        let work = |n| self.inner.claim(&requests[..n]);
        self.faults.effect(Operation::Claim, requests.len(), work).await?
    }

    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<bool>> {
        let work = |n| self.inner.renew(&held[..n], lease);
        self.faults.effect(Operation::Renew, held.len(), work).await?
    }

    async fn commit(&self, held: &[Held], retain: Duration) -> Result<Vec<bool>> {
        let work = |n| self.inner.commit(&held[..n], retain);
        self.faults.effect(Operation::CommitClaim, held.len(), work).await?
    }

    async fn hand_over(&self, handed: &[HandOver]) -> Result<Vec<bool>> {
        let work = |n| self.inner.hand_over(&handed[..n]);
        self.faults.effect(Operation::HandOver, handed.len(), work).await?
    }

    async fn release(&self, held: &[Held]) -> Result<()> {
        let work = |n| self.inner.release(&held[..n]);
        self.faults.effect(Operation::Release, held.len(), work).await?
    }
}
