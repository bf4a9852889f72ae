//! Messages keep the order of their key while processes come and go.

mod trace;

use std::collections::BTreeMap;

use polymq_tests::real::{Place, Process, Reader, confirmed, eventually, handled, tally};

use crate::programs::{Load, publisher, worker};
use trace::Trace;

on_each_series!(order_by_key_holds_while_processes_join_leave_and_are_killed);

const PARTITIONS: usize = 12;
/// A key per task, over some eight seconds.
const LOAD: Load = Load { tasks: 60, each: 80, pause: 100 };
const PREFETCH: u64 = 192;

const CONFIG: &str = r#"
[channels.orders]
kind = "queue"
order_by = "key"
partitions = 12
[consumers.worker]
channel = "orders"
concurrency = 16
prefetch = 192
"#;

async fn order_by_key_holds_while_processes_join_leave_and_are_killed(series: &str) {
    let place = Place::shared(series).await;
    let config = place.config(CONFIG);
    let file = |name| place.folder().path(name);
    let (mut published, mut attempts) =
        (Reader::follow(file("published")), Reader::follow(file("attempts")));
    let join = || worker(&config, &file("attempts"), 2);
    let mut workers = vec![join(), join(), join()];
    spread(&place, &workers).await;

    let producer = publisher(&config, &file("published"), LOAD);
    let mut part = async |quarters: usize| {
        eventually("the next part is confirmed", async || {
            let confirmed = confirmed(published.notes());
            if confirmed >= LOAD.total() * quarters / 5 { Ok(()) } else { Err(confirmed) }
        })
        .await;
    };
    part(1).await;
    workers.remove(0).terminate().await.assert_success();
    spread(&place, &workers).await;
    part(2).await;
    workers.push(join());
    spread(&place, &workers).await;
    part(3).await;
    let killed = workers.remove(0);
    let killed_id = killed.id();
    killed.kill().await;
    spread(&place, &workers).await;
    part(4).await;
    workers.push(join());
    spread(&place, &workers).await;

    producer.ended().await.assert_success();
    eventually("all are handled", async || {
        let handled = handled(attempts.notes());
        if handled == LOAD.total() { Ok(()) } else { Err(handled) }
    })
    .await;
    for worker in workers {
        worker.terminate().await.assert_success();
    }
    let tally = tally(published.notes(), attempts.notes());
    println!(
        "RabbitMQ {}, 3 processes, {PARTITIONS} partitions, one left, one was killed, two joined: {tally}",
        place.server().version()
    );
    assert_eq!((tally.lost, tally.unexpected), (0, 0), "{tally}");
    assert!(tally.duplicated <= PREFETCH, "one process was killed: {tally}");
    Trace::of(attempts.notes(), killed_id).assert_ordered();
}

/// Waits until each partition has its process, no process has none, and none has more than four above
/// its share: who gets which is drawn by lot, and this holds but for once in some thousand draws.
async fn spread(place: &Place, workers: &[Process]) {
    let most = PARTITIONS / workers.len() + 4;
    let spread = eventually("the partitions are spread over the processes", async || {
        let spread = active(place).await;
        let complete = spread.len() == workers.len() && spread.iter().sum::<usize>() == PARTITIONS;
        if complete && spread[0] <= most { Ok(spread) } else { Err(spread) }
    })
    .await;
    println!("{PARTITIONS} partitions over {} processes: {spread:?}", workers.len());
}

/// How many partitions each connection has, the most first.
async fn active(place: &Place) -> Vec<usize> {
    let consumers = place.management().get("consumers/{vhost}").await;
    let mut partitions = BTreeMap::<&str, usize>::new();
    for consumer in consumers.as_array().unwrap() {
        let queue = consumer["queue"]["name"].as_str().unwrap_or_default();
        let is_partition = queue.contains("orders._") && !queue.ends_with("._retry");
        if is_partition && consumer["activity_status"] == "single_active" {
            let connection = consumer["channel_details"]["connection_name"].as_str();
            *partitions.entry(connection.unwrap_or_default()).or_default() += 1;
        }
    }
    let mut counts: Vec<_> = partitions.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts
}
