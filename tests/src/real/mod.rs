//! Real brokers and real processes: what a test needs that kills one or the other.
//!
//! A test has a [`Place`] on a broker, of any [`Series`], and [`Process`]es that write what they do into [`Journal`]s. A
//! journal outlives the process that wrote it, so that what happened up to a SIGKILL is known.

#![allow(clippy::panic, reason = "a test that cannot go on panics")]

mod folder;
pub mod foreign;
mod journal;
mod kafka;
pub mod mailer;
mod outage;
mod place;
mod process;
mod proxy;
mod rabbitmq;
mod series;
mod site;
mod tls;
mod wait;

pub use folder::Folder;
pub use journal::{Deed, Journal, Note, Reader, confirmed, handled, tally};
pub use kafka::Kafka;
pub use outage::Outages;
pub use place::{Place, start, try_start};
pub use process::{Ended, Process, built};
pub use proxy::Proxy;
pub use rabbitmq::{Management, Rabbitmq};
pub use series::Series;
pub use site::Site;
pub use tls::{Authority, Signed, TlsFront};
pub use wait::{eventually, until_handled, within};
