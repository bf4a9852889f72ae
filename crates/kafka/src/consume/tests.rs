//! On a real broker.

mod groups;
mod queue;
mod retries;
mod scene;
