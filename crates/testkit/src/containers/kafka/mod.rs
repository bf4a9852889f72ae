//! Kafka, with a namespace for each test.

mod admin;
mod keystore;
mod namespace;
mod server;
mod settings;

pub(crate) use admin::Admin;
pub use keystore::Keystore;
pub use namespace::KafkaNamespace;
pub use server::{Kafka, KafkaServer};
