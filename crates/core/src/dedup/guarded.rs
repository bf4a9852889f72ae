use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Claim, ClaimRequest, DedupStore, HandOver, Held};
use crate::guard::{Silence, answer};
use crate::{Error, ErrorKind, Result};

/// A store whose panics and silences are failures: it is the application's code, and must not end or
/// hold up the tasks that every message of a consumer goes through.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<dyn DedupStore>);

/// How long a store may take to answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

async fn guard<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    answer(operation, Instant::now() + STORE_TIMEOUT, call).await.unwrap_or_else(|silence| {
        let what = match silence {
            Silence::Panicked => "the deduplication store panicked",
            Silence::Late => "the deduplication store did not answer within 5 s",
        };
        Err(Error::new(ErrorKind::Store, what).with_operation(operation))
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
