//! Settling on a log: a commit says that *everything* before an offset is done.
//!
//! So each partition has a [track](track::Track) of what was fetched and is not known to be done, in the
//! order of the log, and what is committed is the end of its unbroken beginning. An ack is recorded here
//! and never waits for a commit; how many may be recorded and uncommitted is bounded, since a crash
//! repeats them.
//!
//! Nothing in here knows the client library.

mod partition;
mod table;
mod tokens;
mod track;

pub(crate) use partition::{Commit, Key, Start};
pub(crate) use table::{Item, Limits, Table};
pub(crate) use track::Record;
