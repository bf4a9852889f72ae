//! The conformance suite: what every adapter must do, proved case by case.
//!
//! The promises of polymq hold on every broker or they are worth nothing, so each of them is one
//! shared case, never a test that each adapter copies. An adapter's author implements
//! [`Fixture`](crate::Fixture) once and calls [`run`]:
//!
//! ```no_run
//! # async fn example(fixture: &dyn polymq_testkit::Fixture) {
//! let report = polymq_testkit::conformance::run(fixture).await;
//! println!("{report}");
//! report.assert_passed(&["reconnect"]); // reviewed: may be not applicable on this broker
//! # }
//! ```
//!
//! - A case that the broker's capabilities rule out is *not applicable*, with the reason that the
//!   adapter gives; never passed, and never skipped in silence.
//! - Cases run side by side, each in a namespace of its own. Those that measure time come later, a few
//!   at once; those that take the broker down run alone, at the end.
//! - Each case has a deadline: one that hangs fails by its name. One that panics fails, too.
//! - Each case counts every message by its id, and the counts are in the report.
//! - Nothing assumes real or paused time: cases poll for what must come true, with deadlines.

mod case;
mod cases;
mod kit;
mod report;
mod run;
#[cfg(test)]
mod tests;

pub use case::{Case, Need};
pub use cases::all;
pub use report::{CaseReport, Report, Verdict};
pub use run::{run, run_case};
