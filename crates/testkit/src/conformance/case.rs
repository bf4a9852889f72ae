use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use polymq_core::broker::{Broker, Capability, ChannelKind, ChannelRole, ChannelSpec};
use polymq_core::{ChannelName, Result};

use crate::ledger::Tally;
use crate::{Fixture, Lifecycle};

/// Something that a case cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A capability of the broker.
    Has(Capability),
    /// Deliveries have leases, which are to be renewed.
    Lease,
    /// Little else goes on: the case measures time. It runs beside others of its sort only.
    Quiet,
    /// The fixture can take its broker down. The case runs alone.
    Restart,
}

/// How many cases run beside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Many,
    Few,
    Nobody,
}

impl Company {
    /// In the order in which they run: who comes last can do no harm to the others.
    pub(super) const ALL: [Self; 3] = [Self::Many, Self::Few, Self::Nobody];

    /// How many cases run at once.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Many => 8,
            Self::Few => 4,
            Self::Nobody => 1,
        }
    }

    /// How long one case may take: a broker that holds what all the others left starts slowly.
    pub(super) const fn deadline(self) -> Duration {
        match self {
            Self::Many | Self::Few => Duration::from_secs(90),
            Self::Nobody => Duration::from_secs(240),
        }
    }
}

pub(super) type Body = for<'a> fn(&'a dyn Fixture) -> BoxFuture<'a, anyhow::Result<Tally>>;

/// One guarantee, as an async function over a fixture.
#[derive(Clone, Copy)]
pub struct Case {
    /// The name, in reports and in lists of what may be not applicable.
    pub name: &'static str,
    /// What holds when the case passes.
    pub guarantee: &'static str,
    /// What the broker must have for the case to apply.
    pub needs: &'static [Need],
    pub(super) body: Body,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `case!("name", function, [needs], "guarantee")`: an entry of a list of cases.
macro_rules! case {
    ($name:literal, $body:path, [$($need:expr),*], $guarantee:literal) => {
        $crate::conformance::Case {
            name: $name,
            guarantee: $guarantee,
            needs: &[$($need),*],
            body: |fixture| Box::pin($body(fixture)),
        }
    };
}
pub(super) use case;

impl Case {
    /// With how many others the case shares the broker.
    pub(super) fn company(&self) -> Company {
        if self.needs.contains(&Need::Restart) {
            Company::Nobody
        } else if self.needs.contains(&Need::Quiet) {
            Company::Few
        } else {
            Company::Many
        }
    }

    /// A channel of the shape that the case uses, to ask for capabilities.
    pub(super) fn shape(&self) -> Result<ChannelSpec> {
        let has = |capability| self.needs.contains(&Need::Has(capability));
        let mut spec = ChannelSpec::queue(ChannelName::new("shape")?);
        if has(Capability::BrowseRemove) {
            spec.role = ChannelRole::DeadLetter;
        }
        spec.ordered = has(Capability::OrderByKey);
        if has(Capability::Topic) {
            spec.kind = ChannelKind::Topic;
            spec.groups.clear();
        }
        Ok(spec)
    }

    /// Why the case does not apply; `None` if it does.
    pub(super) fn ruled_out(
        &self,
        broker: &dyn Broker,
        lifecycle: &Lifecycle,
    ) -> Result<Option<String>> {
        if let (true, Lifecycle::None(reason)) = (self.needs.contains(&Need::Restart), lifecycle) {
            return Ok(Some(reason.clone()));
        }
        let capabilities = broker.capabilities(&self.shape()?);
        Ok(self.needs.iter().find_map(|need| match need {
            Need::Has(capability) => {
                let denial = capabilities.denial(*capability)?;
                Some(format!("no {capability}: {}", denial.reason))
            }
            Need::Lease if capabilities.limits.lease.is_none() => {
                Some("no lease: nothing is to be renewed".to_owned())
            }
            Need::Lease | Need::Quiet | Need::Restart => None,
        }))
    }
}
