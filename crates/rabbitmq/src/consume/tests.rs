//! Consumers against a real broker.

mod ordered;
mod queue;
mod scene;
