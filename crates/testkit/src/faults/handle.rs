use std::collections::BTreeMap;
use std::future::pending;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polymq_core::ErrorKind;
use polymq_core::broker::Send;
use tokio::sync::watch;

use super::plan::{Planned, Plans};
use super::{CrashPoint, Operation, Plan, PublishFault, SendOutcome, SendRecord, When};

/// The test's hand on its wrappers: plans faults, reads records, stops the process.
///
/// Cloning gives another handle to the same. Every wrapper made with one handle belongs to one
/// process: a crash stops them all.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    crashed: watch::Sender<Option<CrashPoint>>,
}

#[derive(Debug, Default)]
struct State {
    plans: Plans,
    sends: Vec<SendRecord>,
    calls: BTreeMap<Operation, u64>,
    points: Vec<CrashPoint>,
    crash_at: Option<usize>,
}

impl Faults {
    /// A handle without wrappers yet, for several that share it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an operation fail with an error of this kind, without any effect, until the plan is
    /// ended. In a batch that answers per item, every item fails.
    ///
    /// [`Operation::Publish`] has more ways to go wrong: see [`fail_publish`](Self::fail_publish).
    pub fn fail(&self, operation: Operation, kind: ErrorKind) -> Plan {
        match operation {
            Operation::Publish => self.fail_publish(|_| true, PublishFault::Rejected(kind)),
            operation => self.state().plans.add_call(operation, kind),
        }
    }

    /// Makes sends for which `matches` holds go wrong, until the plan is ended. The other sends of
    /// the same call are not affected, but wait with it for a [`PublishFault::Silent`] one.
    ///
    /// Where sends and acks happen both or not at all, the fault of one send is that of its unit.
    pub fn fail_publish(
        &self,
        matches: impl Fn(&Send) -> bool + std::marker::Send + Sync + 'static,
        fault: PublishFault,
    ) -> Plan {
        self.state().plans.add_publish(Box::new(matches), fault)
    }

    /// Ends every plan.
    pub fn clear(&self) {
        self.state().plans.clear();
    }

    /// Every send so far, in the order of the calls, planned failures included.
    #[must_use]
    pub fn sends(&self) -> Vec<SendRecord> {
        self.state().sends.clone()
    }

    /// How often an operation was called: batches, not items.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.state().calls.get(&operation).copied().unwrap_or_default()
    }

    /// The crash points that were passed so far, and the one that was fatal.
    #[must_use]
    pub fn crash_points(&self) -> Vec<CrashPoint> {
        self.state().points.clone()
    }

    /// Stops the process at its `n`-th crash point, counted from 1: that call never returns, and
    /// no later one through these wrappers does, or has an effect.
    ///
    /// Deliveries that are in the process already may still reach their handlers until the test
    /// drops what runs; a handler whose effects count awaits [`alive`](Self::alive) first.
    pub fn crash_at(&self, n: usize) {
        self.state().crash_at = Some(n);
    }

    /// Waits for the crash.
    pub async fn crashed(&self) -> CrashPoint {
        let mut crashed = self.0.crashed.subscribe();
        // The sender lives in `self`, so the wait ends with a crash only.
        let point = crashed.wait_for(Option::is_some).await.ok().and_then(|point| *point);
        match point {
            Some(point) => point,
            None => pending().await,
        }
    }

    /// Whether the process was stopped.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.0.crashed.borrow().is_some()
    }

    /// Returns at once while the process lives, and never after it was stopped.
    pub async fn alive(&self) {
        if self.is_crashed() {
            pending::<()>().await;
        }
    }

    /// What `work` gives, unless the process is stopped meanwhile.
    pub(super) async fn living<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            _ = self.crashed() => pending().await,
            answer = work => answer,
        }
    }

    /// A call that doesn't change anything that outlives the process.
    pub(super) async fn call<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = T>,
    ) -> Result<T, Planned> {
        self.alive().await;
        let fault = {
            let mut state = self.state();
            *state.calls.entry(operation).or_default() += 1;
            state.plans.of_call(operation)
        };
        match fault {
            Some(kind) => Err(Planned { operation, kind }),
            None => Ok(self.living(work).await),
        }
    }

    /// A call with its crash points. `work` is told how many of the `items` to carry out.
    pub(super) async fn effect<T, F: Future<Output = T>>(
        &self,
        operation: Operation,
        items: usize,
        work: impl FnOnce(usize) -> F,
    ) -> Result<T, Planned> {
        self.pass(operation, When::Before).await;
        let halfway = if items > 1 { self.is_fatal(operation, When::Halfway) } else { None };
        let carried_out = if halfway.is_some() { items / 2 } else { items };
        let answer = self.call(operation, work(carried_out)).await;
        if let Some(point) = halfway {
            self.die(point).await;
        }
        self.pass(operation, When::After).await;
        answer
    }

    async fn pass(&self, operation: Operation, when: When) {
        self.alive().await;
        if let Some(point) = self.is_fatal(operation, when) {
            self.die(point).await;
        }
    }

    /// Counts a crash point, and says whether it is the one to crash at.
    fn is_fatal(&self, operation: Operation, when: When) -> Option<CrashPoint> {
        let mut state = self.state();
        let point = CrashPoint { n: state.points.len() + 1, operation, when };
        state.points.push(point);
        (state.crash_at == Some(point.n)).then_some(point)
    }

    async fn die(&self, point: CrashPoint) {
        self.0.crashed.send_replace(Some(point));
        pending::<()>().await;
    }

    /// How each of these groups of sends is planned to go wrong; `None` when none is.
    pub(super) fn plans_of<'a>(
        &self,
        groups: impl Iterator<Item = &'a [Send]>,
    ) -> Option<Vec<Option<PublishFault>>> {
        let state = self.state();
        let fault_of = |sends: &[Send]| sends.iter().find_map(|send| state.plans.of_send(send));
        let faults: Vec<_> = groups.map(fault_of).collect();
        faults.iter().any(Option::is_some).then_some(faults)
    }

    /// Records sends whose outcome is yet to come.
    pub(super) fn record<'a>(&self, sends: impl Iterator<Item = &'a Send>) -> Range<usize> {
        let mut state = self.state();
        let start = state.sends.len();
        state.sends.extend(sends.map(|send| SendRecord {
            destination: send.destination.clone(),
            message: send.message.clone(),
            at: send.at,
            outcome: SendOutcome::Unanswered,
        }));
        start..state.sends.len()
    }

    /// Notes what became of recorded sends.
    pub(super) fn answered(
        &self,
        records: Range<usize>,
        outcomes: impl Iterator<Item = SendOutcome>,
    ) {
        for (record, outcome) in self.state().sends[records].iter_mut().zip(outcomes) {
            record.outcome = outcome;
        }
    }
}
