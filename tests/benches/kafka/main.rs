//! What polymq costs on Kafka, beside an expert's use of rdkafka, in one run on one broker.
//!
//! `cargo bench -p polymq-tests --bench kafka [-- --write]`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark ends with a panic, and prints"
)]

mod broker;
#[path = "../common/mod.rs"]
mod common;
mod raw;

use broker::Place;
use common::measure::Row;
use common::ours::Ours;
use common::report::Page;
use common::{BYTES, MESSAGES, ROUNDS, WINDOW};
use raw::Raw;

/// Messages that are consumed in a round: fetches bring thousands at a time.
const CONSUMED: usize = 8 * MESSAGES;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let place = Place::new().await;
    let version = place.version().to_owned();
    // The loops run on a worker: under `block_on` on the main thread the same loop costs more.
    let rows = tokio::spawn(measure_all(place)).await.unwrap();
    let page =
        Page { bench: "kafka", broker: ("Kafka", &version), client: "rdkafka", work: &work() };
    page.show(&rows);
}

fn work() -> String {
    format!(
        "polymq and rdkafka, the client under it, do the same work on the same topics of twelve partitions in \
         one run: {ROUNDS} rounds of {MESSAGES} messages published and {CONSUMED} consumed, of {BYTES} bytes, \
         interleaved, after one that doesn't count. rdkafka is used as an expert does: producers are idempotent \
         and wait for all replicas, reports are awaited together, and offsets are committed in the background. \
         Both write the same record, without a key, with its id, time and CloudEvents headers, don't linger, \
         wait for every report, and commit every 200 ms what was handled. What polymq consumes passes its whole \
         pipeline to a handler. At most {WINDOW} messages are unconfirmed, or in hand."
    )
}

async fn measure_all(place: Place) -> Vec<Row> {
    // Ours makes the topics.
    let ours = Ours::connect(place.config()).await;
    let raw = Raw::new(&place);
    let mut rows = [
        Row::new(
            "publish: 512 tasks, one message each",
            "512 tasks on one producer: `send_result`, then its report",
        ),
        Row::new("publish: batches of 512", "512 times `send_result`, then the reports"),
        Row::new("consume, prefetch 512", "a stream, `store_offset_from_message` of each message"),
    ];
    for round in 0..=ROUNDS {
        let tasks = [raw.publish_tasks().await, ours.publish_tasks().await];
        let batches = [raw.publish_batches().await, ours.publish_batches().await];
        // Each has a group of its own, so both consume the same messages.
        raw.fill(CONSUMED).await;
        let consumed = [raw.consume(CONSUMED as u64).await, ours.consume(CONSUMED as u64).await];
        if round > 0 {
            for (row, [raw, ours]) in rows.iter_mut().zip([tasks, batches, consumed]) {
                row.push(raw, ours);
            }
        }
    }
    ours.close().await;
    rows.into()
}
