//! The broker goes and comes back while one process publishes and another one consumes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polymq_core::Service;
use polymq_tests::bed::depth;
use polymq_tests::real::{
    Deed, Outages, Reader, Series, confirmed, eventually, handled, start, tally,
};

use crate::programs::{Load, publisher, worker};

on_each_series!(
    a_restart_of_the_broker_loses_nothing_that_was_confirmed,
    a_sigkill_of_the_broker_loses_nothing_that_was_confirmed,
);

/// 10,000 messages in some five seconds, so that the outage comes in their midst.
const LOAD: Load = Load { tasks: 50, each: 200, pause: 25 };
const PREFETCH: u64 = 256;
/// The longest back-off between attempts to connect, and what a queue takes to recover.
const RESUME: Duration = Duration::from_secs(20);
/// 32 handlers of 12 ms each keep up, just: at the outage there is something in hand.
const WORK: u64 = 12;

const CONFIG: &str = r#"
[channels.orders]
kind = "queue"
[consumers.worker]
channel = "orders"
concurrency = 32
prefetch = 256
"#;

async fn a_restart_of_the_broker_loses_nothing_that_was_confirmed(series: Series) {
    survives(series, Outage::Restart).await;
}

async fn a_sigkill_of_the_broker_loses_nothing_that_was_confirmed(series: Series) {
    survives(series, Outage::Sigkill).await;
}

#[derive(Debug, Clone, Copy)]
enum Outage {
    Restart,
    Sigkill,
}

async fn survives(series: Series, outage: Outage) {
    let place = Outages::turn(series).await;
    let config = place.config(CONFIG);
    let file = |name| place.folder().path(name);
    let (mut published, mut consumed) =
        (Reader::follow(file("published")), Reader::follow(file("consumed")));
    let consumer = worker(&config, &file("consumed"), WORK);
    let producer = publisher(&config, &file("published"), LOAD);
    eventually("a third is confirmed, and some are handled", async || {
        let seen = (confirmed(published.notes()), handled(consumed.notes()));
        if seen.0 >= LOAD.total() / 3 && seen.1 > 0 { Ok(()) } else { Err(seen) }
    })
    .await;
    match outage {
        Outage::Restart => place.container().stop().await.unwrap(),
        Outage::Sigkill => place.container().kill().await.unwrap(),
    }
    let before = (confirmed(published.notes()), handled(consumed.notes()));
    assert!(before.0 < LOAD.total(), "the outage came too late");
    place.restart().await;
    let up = since_1970();

    producer.ended().await.assert_success();
    let shop = start(&config, Service::new(())).await;
    eventually("all are handled, and the queue is empty", async || {
        let seen = (handled(consumed.notes()), depth(&shop, "orders").await);
        if seen == (LOAD.total(), 0) { Ok(()) } else { Err(seen) }
    })
    .await;
    consumer.terminate().await.assert_success();

    let tally = tally(published.notes(), consumed.notes());
    let resumed = consumed.notes().iter().find(|note| note.deed == Deed::Handled && note.at >= up);
    let resumed = resumed.expect("something was handled after the outage").at - up;
    println!(
        "{}, {outage:?} after {before:?} confirmed and handled: {tally}; resumed after {resumed:?}",
        place.label()
    );
    assert_eq!((tally.sent, tally.confirmed), (LOAD.total() as u64, LOAD.total() as u64));
    assert_eq!((tally.lost, tally.unexpected), (0, 0), "{tally}");
    let bound = LOAD.tasks as u64 + PREFETCH + place.uncommitted();
    assert!(tally.duplicated <= bound, "more than {bound} duplicates for one outage: {tally}");
    assert!(resumed < RESUME, "resumed after {resumed:?}");
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
