use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::broker::{Consumer, ConsumerStatus, Events, Settlement, Token, Unit};
use polymq_core::model::Delivery;
use polymq_core::{Error, Result};
use tokio::time::Instant;

use super::plan::Planned;
use super::{Faults, Operation, SendOutcome};

#[derive(Debug)]
pub(super) struct FaultyConsumer {
    inner: Arc<dyn Consumer>,
    faults: Faults,
}

impl FaultyConsumer {
    pub(super) fn new(inner: Arc<dyn Consumer>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

/// One answer per item, also where the call failed as a whole.
fn per_item(answer: Result<Vec<Result<()>>, Planned>, items: usize) -> Vec<Result<()>> {
    answer.unwrap_or_else(|planned| (0..items).map(|_| Err(planned.into())).collect())
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Consumer for FaultyConsumer {
    async fn recv(&self, max: usize) -> Result<Vec<Delivery>> {
        self.faults.living(self.inner.recv(max)).await
    }

    async fn settle(
        &self,
        settlements: &[(Token, Settlement)],
        deadline: Instant,
    ) -> Vec<Result<()>> {
        let settled = self.inner.settle(settlements, deadline);
        let answer = self.faults.effect(Operation::Settle, settled).await;
        per_item(answer, settlements.len())
    }

    async fn extend(&self, tokens: &[Token], deadline: Instant) -> Vec<Result<()>> {
        let extended = self.inner.extend(tokens, deadline);
        let answer = self.faults.call(Operation::Extend, extended).await;
        per_item(answer, tokens.len())
    }

    async fn commit(&self, units: Vec<Unit>, deadline: Instant) -> Vec<Result<()>> {
        self.faults.alive().await;
        let sends: Vec<usize> = units.iter().map(|unit| unit.sends.len()).collect();
        let records = self.faults.record(units.iter().flat_map(|unit| &unit.sends));
        let committed = self.inner.commit(units, deadline);
        let noted = async {
            let results = committed.await;
            let outcomes = results
                .iter()
                .zip(&sends)
                .flat_map(|(result, sends)| std::iter::repeat_n(outcome(result), *sends));
            self.faults.answered(records.clone(), outcomes);
            results
        };
        let answer = self.faults.effect(Operation::Commit, noted).await;
        if let Err(planned) = answer {
            let rejected = SendOutcome::Rejected(Error::from(planned).to_string());
            self.faults.answered(records.clone(), std::iter::repeat(rejected));
        }
        per_item(answer, sends.len())
    }

    fn pause(&self) {
        self.inner.pause();
    }

    fn resume(&self) {
        self.inner.resume();
    }

    fn events(&self) -> Events {
        self.inner.events()
    }

    fn status(&self) -> ConsumerStatus {
        self.inner.status()
    }

    async fn close(&self, deadline: Instant) -> Result<()> {
        self.faults.living(self.inner.close(deadline)).await
    }
}

fn outcome(result: &Result<()>) -> SendOutcome {
    match result {
        Ok(()) => SendOutcome::Confirmed,
        Err(error) if error.is_retryable() => SendOutcome::Unconfirmed(error.to_string()),
        Err(error) => SendOutcome::Rejected(error.to_string()),
    }
}
