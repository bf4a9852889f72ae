//! What an operator asks of a cluster, against a real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod refusals;
mod scene;
mod topology;
