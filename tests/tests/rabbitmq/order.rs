//! Messages keep the order of their key while processes come and go.

mod partitions;
mod trace;

use polymq_tests::real::{Place, Reader, confirmed, eventually, handled, tally};

use crate::programs::{Load, publisher, worker};
use partitions::Partitions;
use trace::{Trace, in_hand};

on_each_series!(order_by_key_holds_while_processes_join_leave_and_are_killed);

/// A key per task, over some 24 seconds: longer than all the joining and leaving, on a busy machine, too.
const LOAD: Load = Load { tasks: 120, each: 120, pause: 200 };
const PREFETCH: u64 = 192;
/// At any time a process has some messages in hand.
const WORK: u64 = 40;

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
    let partitions = Partitions::ask(&place, LOAD.tasks).await;
    let file = |name| place.folder().path(name);
    let (mut published, mut attempts) =
        (Reader::follow(file("published")), Reader::follow(file("attempts")));
    let join = || worker(&config, &file("attempts"), WORK);
    let mut workers = vec![join(), join(), join()];
    let producer = publisher(&config, &file("published"), LOAD);
    partitions.spread(&mut attempts, &workers).await;

    let mut part = async |fifths: usize| {
        eventually("the next part is confirmed", async || {
            let confirmed = confirmed(published.notes());
            if confirmed >= LOAD.total() * fifths / 5 { Ok(()) } else { Err(confirmed) }
        })
        .await;
    };
    part(1).await;
    workers.remove(0).terminate().await.assert_success();
    partitions.spread(&mut attempts, &workers).await;
    part(2).await;
    workers.push(join());
    partitions.spread(&mut attempts, &workers).await;
    part(3).await;
    // Killed while another one is just taking over.
    let newest = join();
    let busiest = eventually("the newest has messages, and an older one, too", async || {
        let notes = attempts.notes();
        let has_begun = notes.iter().any(|note| note.pid == newest.id());
        let in_hand: Vec<_> = workers.iter().map(|w| in_hand(notes, w.id())).collect();
        let busiest = in_hand.iter().position(|count| *count >= 4);
        busiest.filter(|_| has_begun).ok_or((has_begun, in_hand))
    })
    .await;
    workers.push(newest);
    let killed = workers.remove(busiest);
    let killed_id = killed.id();
    killed.kill().await;
    partitions.spread(&mut attempts, &workers).await;
    part(4).await;
    workers.push(join());
    partitions.spread(&mut attempts, &workers).await;
    assert!(handled(attempts.notes()) < LOAD.total(), "all this came too late");

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
    let in_hand = in_hand(attempts.notes(), killed_id);
    println!(
        "RabbitMQ {}, 12 partitions, one process left, one was killed with {in_hand} in hand, three joined: {tally}",
        place.server().version()
    );
    assert!(in_hand > 0, "the process was killed while it did nothing");
    assert_eq!((tally.lost, tally.unexpected), (0, 0), "{tally}");
    assert!(tally.duplicated <= PREFETCH, "one process was killed: {tally}");
    Trace::of(attempts.notes(), killed_id).assert_ordered();
}
