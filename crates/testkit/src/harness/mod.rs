//! placeholder
mod idle;

pub use idle::{Busy, idle};
