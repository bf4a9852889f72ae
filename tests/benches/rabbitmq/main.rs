//! What polymq costs on RabbitMQ, beside an expert's use of lapin, in one run on one broker.
//!
//! `cargo bench -p polymq-tests --bench rabbitmq [-- --write]`

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
use common::measure::{Row, Sample};
use common::ours::Ours;
use common::report::Page;
use common::{BYTES, MESSAGES, ROUNDS, WINDOW};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let place = Place::new().await;
    let version = place.version().to_owned();
    // The loops run on a worker: under `block_on` on the main thread the same loop costs more.
    let rows = tokio::spawn(measure_all(place)).await.unwrap();
    let page =
        Page { bench: "rabbitmq", broker: ("RabbitMQ", &version), client: "lapin", work: &work() };
    page.show(&rows);
}

fn work() -> String {
    format!(
        "polymq and lapin, the client under it, do the same work on the same quorum queue in one run: \
         {ROUNDS} rounds of {MESSAGES} messages of {BYTES} bytes, interleaved, after one that doesn't count. \
         lapin is used as an expert does: writes overlap, and acks cover many messages. Both write the \
         same message, with its id, time and CloudEvents headers, and wait for every confirm. What \
         polymq consumes passes its whole pipeline to a handler. At most {WINDOW} \
         messages are unconfirmed, or in hand."
    )
}

async fn measure_all(place: Place) -> Vec<Row> {
    // Ours makes the queue.
    let ours = Ours::connect(place.config()).await;
    let raw = raw::Raw::connect(&place).await;
    let mut rows = [
        Row::new(
            "publish: 512 tasks, one message each",
            "512 tasks on one AMQP channel: `basic_publish`, then its confirm",
        ),
        Row::new("publish: batches of 512", "`basic_publish` overlapped, then the confirms"),
        Row::new("consume, prefetch 512", "`ack` with `multiple`, every 100 messages"),
        Row::new("consume, prefetch 512", "`ack` of each message"),
    ];
    for round in 0..=ROUNDS {
        let tasks = [
            in_turn(&place, raw.publish_tasks()).await,
            in_turn(&place, ours.publish_tasks()).await,
        ];
        let batches = [
            in_turn(&place, raw.publish_batches()).await,
            in_turn(&place, ours.publish_batches()).await,
        ];
        let mut consumed = [Sample::default(); 3];
        // Rotated, so that no one always comes after the same.
        for turn in 0..3 {
            let which = (turn + round) % 3;
            raw.fill().await;
            consumed[which] = match which {
                0 => ours.consume(MESSAGES as u64).await,
                1 => raw.consume(100).await,
                _ => raw.consume(1).await,
            };
            place.purge(0).await;
        }
        if round > 0 {
            let [ours, multiple, each] = consumed;
            let pairs = [tasks, batches, [multiple, ours], [each, ours]];
            for (row, [raw, ours]) in rows.iter_mut().zip(pairs) {
                row.push(raw, ours);
            }
        }
    }
    ours.close().await;
    rows.into()
}

/// Publishes, and empties the queue for whoever comes next.
async fn in_turn(place: &Place, publish: impl Future<Output = Sample>) -> Sample {
    let sample = publish.await;
    place.purge(MESSAGES as u64).await;
    sample
}
