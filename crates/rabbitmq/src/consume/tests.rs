//! Consumers against a real broker.

mod ordered;
mod partitions;
mod queue;
mod relay;
mod scene;
mod worker;
