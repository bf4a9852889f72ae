//! Which topics and committed offsets a topology needs, how they stand, and how they are made.
//!
//! A consumer group exists on Kafka by what it has committed. Where a group starts is therefore an object
//! like any other: it is committed once, when the group is new. A group is known to be new by its retry
//! inbox, which is created last: with an inbox and without offsets it is a group that Kafka has forgotten,
//! and only somebody can say where that one goes on.
//!
//! A topic's settings follow from the channel alone: producers and consumers of one channel have different
//! configurations, and would otherwise refuse each other's topics.

mod apply;
mod objects;
mod plan;
mod settings;

pub(crate) use apply::apply;
pub(crate) use objects::objects;
pub(crate) use plan::plan;
