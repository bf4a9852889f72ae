//! From the merged tree to the typed configuration, one file per table.

mod broker;
mod channel;
mod consumer;
mod retry;
mod root;

pub(super) use root::read;
