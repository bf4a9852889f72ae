use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::time::timeout;

use super::{Claim, ClaimRequest, DedupStore, HandOver, Held};
use crate::{Error, ErrorKind, Result};

/// A store whose panics and silences are failures: it is the application's code, and must not end or
/// hold up the tasks that every message of a consumer goes through.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<dyn DedupStore>);

/// How long a store may take to answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

async fn guard<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let failed = |what| Err(Error::new(ErrorKind::Store, what).with_operation(operation));
    match timeout(STORE_TIMEOUT, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => failed("the deduplication store panicked"),
        Err(_) => failed("the deduplication store did not answer within 5 s"),
    }
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
