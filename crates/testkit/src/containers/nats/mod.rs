//! NATS with JetStream, with a namespace for each test.

mod namespace;
mod server;

pub use namespace::NatsNamespace;
pub use server::{Nats, NatsServer};
