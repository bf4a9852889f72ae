//! Counts every message by its id, because a sample cannot show that nothing was lost.
//!
//! A test that compares two totals passes when one message is lost and another one duplicated. A
//! [`Ledger`] knows of each id what its publisher was told and how often it came, so lost,
//! duplicated, reordered and unexpected messages are counted apart.
//!
//! ```
//! use polymq_testkit::ledger::Ledger;
//!
//! let ledger = Ledger::default();
//! for id in ["a", "b"] {
//!     ledger.sent(id, None);
//!     ledger.confirmed(id);
//! }
//! ledger.received("a");
//! ledger.received("a");
//! let tally = ledger.tally();
//! assert_eq!((tally.lost, tally.duplicated), (1, 1));
//! assert_eq!(ledger.lost(), ["b"]);
//! ```

#[allow(clippy::module_inception, reason = "the type gives the folder its name")]
mod ledger;
mod tally;
#[cfg(test)]
mod tests;

pub use ledger::{Ledger, Receipt};
pub use tally::Tally;
