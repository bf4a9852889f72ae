//! The contract between polymq and a broker: what an adapter implements.
//!
//! The traits are object-safe, because the broker is chosen at run time, and their unit is the
//! batch: one boxed future per batch, none per message. They know nothing of retries, dead letters
//! or handlers: the pipeline decides, and turns its decisions into [`Send`]s and [`Settlement`]s.
//!
//! Operations that take a deadline are back by then. The core drops a call 100 ms later, and takes
//! that, like a panic, as no answer: the fate of what it carried is unknown.
//!
//! `docs/adapters.md` walks each method through all brokers.

mod adapter;
mod admin;
#[allow(clippy::module_inception, reason = "the trait gives the folder its name")]
mod broker;
mod capability;
mod consumer;
mod event;
mod facts;
mod send;
mod topology;

pub use adapter::{Adapter, Connect, Credentials};
pub use admin::{Admin, Browse, Depth, PartitionLag, PeekHandle, Peeked, Source, StartPosition};
pub use broker::{Broker, BrokerInfo};
pub use capability::{Capabilities, Capability, Denial, Limits, Support};
pub use consumer::{Consumer, ConsumerStatus, Settlement, Subscription, Token, Unit};
pub use event::{Event, EventSender, Events};
pub use facts::{ChannelFacts, ObjectFact};
pub use send::{Confirmation, Destination, Outcome, Send};
pub use topology::{
    ChannelKind, ChannelRole, ChannelSpec, DEFAULT_PARTITIONS, Difference, GroupSpec, ObjectState,
    Plan, PlannedObject, Topology,
};
