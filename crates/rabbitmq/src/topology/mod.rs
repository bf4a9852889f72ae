//! Which objects a topology needs, how they stand, and how they are made.
//!
//! An object is what [`Layout`](crate::layout::Layout) names and [`arguments`] shape. Its arguments follow
//! from the channel alone: producers and consumers of one channel have different configurations, and would
//! otherwise refuse each other's queues.
//!
//! Without the management plugin the broker is asked by declarations, and tells the first difference
//! only; bindings it doesn't tell at all, so `apply` makes them each time. With `management` the plan
//! shows all of both.

mod apply;
mod arguments;
#[cfg(feature = "management")]
mod compare;
mod difference;
mod objects;
mod plan;
mod pool;
#[cfg(test)]
mod tests;

pub(crate) use apply::apply;
pub(crate) use arguments::CONSUMER_TIMEOUT;
#[cfg(feature = "management")]
pub(crate) use compare::compare;
pub(crate) use objects::{Object, Stage, longest_wait, stages};
pub(crate) use plan::plan;
pub(crate) use pool::{PATIENCE, Pool};
