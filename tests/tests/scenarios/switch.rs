//! One producer, one consumer, one file: to switch brokers, its URL is changed and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt};
use polymq_tests::real::{Place, Process, Series, built, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const ORDERS: usize = 100;

/// So many switches at a time.
const AT_ONCE: usize = 4;

/// The example's file.
fn example(series: Series) -> &'static str {
    match series {
        Series::Rabbitmq(_) => include_str!("../../../examples/switch/rabbitmq.toml"),
        Series::Kafka(_) => include_str!("../../../examples/switch/kafka.toml"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_every_two_brokers_a_switch_changes_nothing_but_the_url() {
    let pairs = Series::ALL.into_iter().flat_map(|a| Series::ALL.map(|b| (a, b)));
    let switches = pairs.filter(|(a, b)| a != b).map(|(a, b)| switch(a, b));
    stream::iter(switches).buffer_unordered(AT_ONCE).collect::<()>().await;
}

async fn switch(from: Series, to: Series) {
    let places = [Place::shared(from).await, Place::shared(to).await];
    let files = [file_for(from, &places[0]), file_for(to, &places[1])];
    assert_differ_in_the_url_only(&files);
    for (place, file) in places.iter().zip(&files) {
        let packed = run(place, file).await;
        println!(
            "from {from} to {to}: {}: {ORDERS} orders published, {packed} packed",
            place.label()
        );
    }
}

/// The example's file, for this broker.
fn file_for(series: Series, place: &Place) -> PathBuf {
    let lines = example(series).lines().map(|line| match line.starts_with("url = ") {
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

/// Starts one of the example's processes, apart from those of other tests on this broker.
async fn process(name: &str, place: &Place, arguments: &[&Path]) -> Process {
    let mut command = Command::new(built(name).await);
    Process::spawn(command.args(arguments).env("POLYMQ_NAMESPACE", place.namespace()))
}

/// Runs both processes until every order is packed; how many were.
async fn run(place: &Place, file: &Path) -> usize {
    let mut consumer = process("switch-consumer", place, &[file]).await;
    let count = ORDERS.to_string();
    let arguments = [file, "--count".as_ref(), count.as_ref()];
    let producer = process("switch-producer", place, &arguments).await;
    let published = producer.ended().await.assert_success();
    let published: BTreeSet<_> = published.lines().map(str::to_owned).collect();
    assert_eq!(published.len(), ORDERS);

    let mut lines = BufReader::new(consumer.stdout()).lines();
    let mut packed = BTreeSet::new();
    while packed.len() < ORDERS {
        let line = within("the next order is packed", lines.next_line()).await;
        let line = line.unwrap().expect("the consumer goes on");
        assert!(packed.insert(line), "packed twice");
    }
    consumer.terminate().await.assert_success();
    assert_eq!(packed, published);
    packed.len()
}
