use std::iter::repeat_n;
use std::sync::Arc;

use async_trait::async_trait;
use polymq_core::Result;
use polymq_core::broker::{Consumer, ConsumerStatus, Events, Settlement, Token, Unit};
use polymq_core::model::Delivery;
use tokio::time::Instant;

use super::plan::Planned;
use super::strike::strike;
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
        let settle = |n| self.inner.settle(&settlements[..n], deadline);
        let answer = self.faults.effect(Operation::Settle, settlements.len(), settle).await;
        per_item(answer, settlements.len())
    }

    async fn extend(&self, tokens: &[Token], deadline: Instant) -> Vec<Result<()>> {
        let extended = self.inner.extend(tokens, deadline);
        let answer = self.faults.call(Operation::Extend, extended).await;
        per_item(answer, tokens.len())
    }

    async fn commit(&self, units: Vec<Unit>, deadline: Instant) -> Vec<Result<()>> {
        self.faults.alive().await;
        let (faults, inner) = (&self.faults, &self.inner);
        let counts: Vec<usize> = units.iter().map(|unit| unit.sends.len()).collect();
        let records = faults.record(units.iter().flat_map(|unit| &unit.sends));
        let note = |results: &[Result<()>]| {
            let per_unit = results.iter().zip(&counts);
            let outcomes = per_unit.flat_map(|(result, n)| repeat_n(outcome(result), *n));
            faults.answered(records.clone(), outcomes);
        };
        let note = &note;
        let work = |n| async move {
            let units: Vec<Unit> = units.into_iter().take(n).collect();
            let commit = |units| inner.commit(units, deadline);
            let results = match faults.plans_of(units.iter().map(|unit| &*unit.sends)) {
                None => commit(units).await,
                Some(plans) => strike(Operation::Commit, units, plans, deadline, commit).await,
            };
            note(&results);
            results
        };
        let answer = faults.effect(Operation::Commit, counts.len(), work).await;
        let failed = answer.is_err();
        let results = per_item(answer, counts.len());
        if failed {
            note(&results);
        }
        results
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
