//! What the pipeline promises on every broker, in virtual time.

mod batch;
mod breaker;
mod control;
mod dedup;
mod drain;
mod leases;
mod order;
mod outputs;
mod retries;
mod retry_policy;
mod time;
mod topics;
