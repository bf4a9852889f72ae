use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use polymq_core::broker::Send;
use polymq_core::{Error, ErrorKind};

use super::Operation;

/// How a planned publish goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishFault {
    /// The broker refuses it: the message is nowhere.
    Rejected(ErrorKind),
    /// The broker has it, and the confirmation is lost.
    Unconfirmed(ErrorKind),
    /// The message is lost on its way, and nobody knows.
    Lost(ErrorKind),
    /// The message is lost, and there is no answer before the deadline.
    Silent,
}

/// A fault that is in force, until it has struck often enough or was ended.
///
/// Dropping it changes nothing: the fault stays.
#[derive(Debug, Clone)]
pub struct Plan(Arc<AtomicU64>);

/// A plan that strikes until it is ended.
const FOR_EVER: u64 = u64::MAX;

impl Plan {
    pub(super) fn for_ever() -> Self {
        Self(Arc::new(AtomicU64::new(FOR_EVER)))
    }

    /// Lets the fault strike `n` more times: that many calls, or that many sends of a publish.
    pub fn times(self, n: u64) -> Self {
        self.0.store(n, Ordering::Relaxed);
        self
    }

    /// Ends the fault.
    pub fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether the fault may still strike.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Whether the fault strikes now; counts it if so.
    fn strikes(&self) -> bool {
        let strike = |left| match left {
            0 => None,
            FOR_EVER => Some(FOR_EVER),
            left => Some(left - 1),
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, strike).is_ok()
    }
}

type Predicate = Box<dyn Fn(&Send) -> bool + std::marker::Send + Sync>;

/// Every fault that a test has planned, oldest first.
#[derive(Default)]
pub(super) struct Plans {
    calls: Vec<(Plan, Operation, ErrorKind)>,
    publishes: Vec<(Plan, Predicate, PublishFault)>,
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let publishes: Vec<_> =
            self.publishes.iter().map(|(plan, _, fault)| (plan, fault)).collect();
        f.debug_struct("Plans").field("calls", &self.calls).field("publishes", &publishes).finish()
    }
}

impl Plans {
    pub(super) fn add_call(&mut self, operation: Operation, kind: ErrorKind) -> Plan {
        let plan = Plan::for_ever();
        self.calls.push((plan.clone(), operation, kind));
        plan
    }

    pub(super) fn add_publish(&mut self, matches: Predicate, fault: PublishFault) -> Plan {
        let plan = Plan::for_ever();
        self.publishes.push((plan.clone(), matches, fault));
        plan
    }

    pub(super) fn clear(&mut self) {
        for plan in self.calls.iter().map(|(p, ..)| p).chain(self.publishes.iter().map(|(p, ..)| p))
        {
            plan.end();
        }
        self.calls.clear();
        self.publishes.clear();
    }

    pub(super) fn of_call(&self, operation: Operation) -> Option<ErrorKind> {
        let mut planned = self.calls.iter().filter(|(_, o, _)| *o == operation);
        planned.find(|(plan, ..)| plan.strikes()).map(|(_, _, kind)| *kind)
    }

    pub(super) fn of_send(&self, send: &Send) -> Option<PublishFault> {
        let mut planned = self.publishes.iter().filter(|(_, matches, _)| matches(send));
        planned.find(|(plan, ..)| plan.strikes()).map(|(_, _, fault)| *fault)
    }
}

/// A planned fault that struck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) operation: Operation,
    pub(super) kind: ErrorKind,
}

impl From<Planned> for Error {
    fn from(Planned { operation, kind }: Planned) -> Self {
        Self::new(kind, "a fault that the test has planned").with_operation(operation.as_str())
    }
}
