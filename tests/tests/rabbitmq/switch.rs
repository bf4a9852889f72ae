//! One producer, one consumer, one file: to switch brokers, its URL is changed and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use polymq_tests::real::{Place, Process, built};
use tokio::io::{AsyncBufReadExt, BufReader};

const FILE: &str = include_str!("../../../examples/switch/rabbitmq.toml");
const ORDERS: usize = 100;

/// What the tests can switch between.
const BROKERS: [&str; 2] = ["4.3", "4.0"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_every_two_brokers_a_switch_changes_nothing_but_the_url() {
    let pairs = BROKERS.iter().flat_map(|a| BROKERS.iter().map(move |b| (*a, *b)));
    let switches = pairs.filter(|(a, b)| a != b).map(|(a, b)| switch(a, b));
    join_all(switches).await;
}

async fn switch(from: &str, to: &str) {
    let (from, to) = (Place::shared(from).await, Place::shared(to).await);
    let files = [&from, &to].map(file_for);
    assert_differ_in_the_url_only(&files);
    for (place, file) in [&from, &to].into_iter().zip(&files) {
        let handled = run(file).await;
        println!(
            "RabbitMQ {}: {} orders published, {} packed",
            place.server().version(),
            ORDERS,
            handled.len()
        );
    }
}

/// The example's file, for this broker.
fn file_for(place: &Place) -> PathBuf {
    let lines = FILE.lines().map(|line| match line.starts_with("url = ") {
        true => format!("url = \"{}\"\n", place.url()),
        false => format!("{line}\n"),
    });
    place.folder().file("polymq.toml", &lines.collect::<String>())
}

fn assert_differ_in_the_url_only(files: &[PathBuf; 2]) {
    let [a, b] = files.each_ref().map(|file| fs::read_to_string(file).unwrap());
    assert_eq!(a.lines().count(), b.lines().count());
    let differ: Vec<_> = a.lines().zip(b.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(differ.len(), 1, "{differ:?}");
    assert!(differ[0].0.starts_with("url = ") && differ[0].1.starts_with("url = "), "{differ:?}");
}

/// Runs both processes until every order is packed; the ids that were.
async fn run(file: &Path) -> BTreeSet<String> {
    let mut consumer = Process::start(built("switch-consumer").await, &[file.as_ref()]);
    let count = ORDERS.to_string();
    let producer = Process::start(
        built("switch-producer").await,
        &[file.as_ref(), "--count".as_ref(), count.as_ref()],
    );
    let published = producer.ended().await.assert_success();
    let published: BTreeSet<_> = published.lines().map(str::to_owned).collect();
    assert_eq!(published.len(), ORDERS);

    let mut lines = BufReader::new(consumer.stdout()).lines();
    let mut packed = BTreeSet::new();
    while packed.len() < ORDERS {
        let line = polymq_tests::real::within("the next order is packed", lines.next_line()).await;
        let line = line.unwrap().expect("the consumer goes on");
        assert!(packed.insert(line), "packed twice");
    }
    consumer.terminate().await.assert_success();
    assert_eq!(packed, published);
    packed
}
