use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::{Claim, ClaimRequest, DedupStore, HandOver, Held};
use crate::{Error, ErrorKind, Result};

/// A store whose panics are failures: it is the application's code, and must not end the tasks that
/// every message of a consumer goes through.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<dyn DedupStore>);

async fn guard<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Store, "the deduplication store panicked")
            .with_operation(operation))
    })
}

#[async_trait]
impl DedupStore for Guarded {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Claim>> {
        guard("claim", async { self.0.claim(requests).await }).await
    }

    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<bool>> {
        guard("renew", async { self.0.renew(held, lease).await }).await
    }

    async fn commit(&self, held: &[Held], retain: Duration) -> Result<Vec<bool>> {
        guard("commit", async { self.0.commit(held, retain).await }).await
    }

    async fn hand_over(&self, handed: &[HandOver]) -> Result<Vec<bool>> {
        guard("hand over", async { self.0.hand_over(handed).await }).await
    }

    async fn release(&self, held: &[Held]) -> Result<()> {
        guard("release", async { self.0.release(held).await }).await
    }
}
