//! Publishing to a broker that runs, and to librdkafka's own simulation of one that fails.

mod order;
mod outcomes;
mod records;
mod renewal;
mod scene;
