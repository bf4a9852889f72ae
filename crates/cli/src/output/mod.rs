//! What stdout gets: NDJSON, or tables for people.

mod printable;
mod progress;
mod stdout;
mod table;

pub(crate) use printable::{printable, printable_lines};
pub(crate) use progress::Progress;
pub(crate) use stdout::{Stdout, Style};
pub(crate) use table::table;
