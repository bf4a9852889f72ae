//! Publishing to a broker that runs: `TEST_KAFKA_URL` names it.

mod order;
mod outcomes;
mod records;
mod renewal;
mod scene;
