use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that a configuration can need and a broker can lack.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Capability {
            $($(#[$doc])* $variant,)*
        }

        impl Capability {
            /// All of them, in the order of the documentation's table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in configuration, documentation and reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

capabilities! {
    /// Channels of kind queue.
    Queue = "queue",
    /// Channels of kind topic, with durable groups.
    Topic = "topic",
    /// Messages of one key are handed out in order, across consumers and redeliveries.
    OrderByKey = "order-by-key",
    /// Several unconfirmed messages of one key keep their order.
    OrderedPipelining = "ordered-pipelining",
    /// A message can wait in a retry inbox.
    DelayedRetry = "delayed-retry",
    /// A group can start at, or be moved to, an earlier position.
    Replay = "replay",
    /// A full channel tells its publisher.
    MaxBytes = "max-bytes",
    /// Unhandled messages are kept for at least a given time.
    Retention = "retention",
    /// More than one priority.
    Priority = "priority",
    /// Copies on several nodes.
    Replicas = "replicas",
    /// Sends and an ack happen both or not at all.
    Atomic = "atomic",
    /// Messages can be looked at without consuming them.
    Browse = "browse",
    /// A peeked message can be deleted.
    BrowseRemove = "browse-remove",
    /// A source can be emptied.
    Purge = "purge",
    /// Hand-outs are counted, so that a crash loop is noticed.
    DeliveryCount = "delivery-count",
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Capability {
    type Err = crate::Error;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|c| c.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|c| c.as_str()).collect();
            crate::Error::new(crate::ErrorKind::Config, format!("unknown capability `{name}`"))
                .with_help(format!("one of {}", known.join(", ")))
        })
    }
}

/// Why a broker lacks a capability, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// `NATS 2.10 has no message schedules`.
    pub reason: String,
    /// `upgrade to 2.12 or later, or remove "delayed"`.
    pub fix: String,
}

/// Whether a broker has a capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Support {
    /// It has.
    Yes,
    /// It has not.
    No(Denial),
}

/// The quantities that go with capabilities. `None` means no limit of the broker's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message, as [`Broker::wire_size`](super::Broker::wire_size) counts them.
    pub max_message_bytes: usize,
    /// Bytes of all headers of one message.
    pub max_header_bytes: usize,
    /// Headers of one message.
    pub max_headers: usize,
    /// The longest wait in one go: a longer one is handed out early and sent on.
    pub max_delay: Option<Duration>,
    /// How much later than asked a delayed message may come on an idle consumer, beside 10 %.
    pub delay_slack: Duration,
    /// The longest retention.
    pub max_retention: Option<Duration>,
    /// The lease of a delivery: to be renewed before it ends. `None`: nothing is to be renewed.
    pub lease: Option<Duration>,
    /// The longest that a delivery can stay unsettled in total, renewed or not.
    pub max_lease: Option<Duration>,
    /// Acked deliveries of one consumer that a crash of its process may bring again, beside what it has in
    /// hand, where acks are committed in groups; a handled message behind one that isn't counts, too.
    pub max_uncommitted: usize,
    /// The highest priority.
    pub max_priority: u8,
}

impl Default for Limits {
    /// 1 MiB messages, 64 KiB in 128 headers, no lease, no ceilings, no priorities, acks that last.
    fn default() -> Self {
        Self {
            max_message_bytes: 1 << 20,
            max_header_bytes: 64 << 10,
            max_headers: 128,
            max_delay: None,
            delay_slack: Duration::from_secs(1),
            max_retention: None,
            lease: None,
            max_lease: None,
            max_uncommitted: 0,
            max_priority: 0,
        }
    }
}

/// What a broker, at its running version, can do for one channel: data, to be compared with what
/// the configuration needs before anything starts.
///
/// ```
/// use polymq_core::broker::{Capabilities, Capability};
///
/// let capabilities = Capabilities::of([Capability::Queue, Capability::Topic]).without(
///     Capability::DelayedRetry,
///     "NATS 2.10 has no message schedules",
///     "upgrade to 2.12 or later, or remove `delayed`",
/// );
/// assert!(capabilities.has(Capability::Queue));
/// assert!(!capabilities.has(Capability::DelayedRetry));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    support: BTreeMap<Capability, Support>,
    /// The quantities.
    pub limits: Limits,
}

impl Capabilities {
    /// Exactly these capabilities, with default limits.
    #[must_use]
    pub fn of(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self {
            support: capabilities.into_iter().map(|c| (c, Support::Yes)).collect(),
            limits: Limits::default(),
        }
    }

    /// Denies a capability, with the reason and the fix.
    #[must_use]
    pub fn without(
        mut self,
        capability: Capability,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let denial = Denial { reason: reason.into(), fix: fix.into() };
        self.support.insert(capability, Support::No(denial));
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the broker has the capability.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        matches!(self.support.get(&capability), Some(Support::Yes))
    }

    /// Why the broker lacks the capability; `None` if it has it. One that the adapter never spoke
    /// of is lacking.
    #[must_use]
    pub fn denial(&self, capability: Capability) -> Option<Denial> {
        match self.support.get(&capability) {
            Some(Support::Yes) => None,
            Some(Support::No(denial)) => Some(denial.clone()),
            None => Some(Denial {
                reason: format!("the broker has no {capability}"),
                fix: "use another broker for this channel, or remove the need".to_owned(),
            }),
        }
    }
}
