//! Messages of and for Java: its console tools, in the broker's container.

use std::collections::{BTreeMap, BTreeSet};

use polymq_tests::real::foreign::{apply, publish, sub};
use polymq_tests::real::{Kafka, Place};
use serde_json::{Value, json};

on_each_series!(
    a_key_lies_in_the_partition_that_java_would_choose,
    a_tombstone_is_one_on_both_sides,
);

const CONFIG: &str = "[channels.orders]\nkind = 'queue'\n[consumers.mailer]\nchannel = 'orders'\n";
const KEYS: usize = 60;

/// A record, as the console consumer prints it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    partition: u32,
    key: String,
    value: String,
}

/// Publishes `KEY:VALUE` lines; the value `NULL` stands for none.
async fn java_publishes(place: &Place<Kafka>, topic: &str, lines: &str) {
    let script = format!(
        "/opt/kafka/bin/kafka-console-producer.sh --bootstrap-server localhost:19092 --topic {topic} \
         --reader-property parse.key=true --reader-property key.separator=: \
         --reader-property null.marker=NULL <<'END'\n{lines}\nEND"
    );
    place.shell(&script).await;
}

async fn java_reads(place: &Place<Kafka>, topic: &str, count: usize) -> Vec<Record> {
    let printed = place
        .tool(
            "kafka-console-consumer",
            &[
                "--topic",
                topic,
                "--from-beginning",
                "--max-messages",
                &count.to_string(),
                "--timeout-ms",
                "20000",
                "--formatter-property",
                "print.partition=true",
                "--formatter-property",
                "print.key=true",
                "--formatter-property",
                "null.literal=NULL",
            ],
        )
        .await;
    let record = |line: &str| {
        let mut fields = line.split('\t');
        Some(Record {
            partition: fields.next()?.strip_prefix("Partition:")?.parse().ok()?,
            key: fields.next()?.to_owned(),
            value: fields.next()?.to_owned(),
        })
    };
    printed.lines().filter_map(record).collect()
}

async fn a_key_lies_in_the_partition_that_java_would_choose(series: &str) {
    let place = Kafka::place(series).await;
    let (config, topic) = (place.config(CONFIG), place.topic("orders"));
    apply(&config).await;
    // Of all lengths modulo 4, in which murmur2 takes its bytes, and beyond ASCII.
    let keys: Vec<_> = (0..KEYS).map(|n| format!("ключ-{}{n}", "x".repeat(n % 7))).collect();
    let lines: Vec<_> = keys.iter().map(|key| format!("{key}:java")).collect();
    java_publishes(&place, &topic, &lines.join("\n")).await;
    let message = |key: &String| json!({ "key": key, "payload": "polymq" });
    publish(&config, "orders", &keys.iter().map(message).collect::<Vec<_>>()).await;

    let records = java_reads(&place, &topic, 2 * KEYS).await;
    assert_eq!(records.len(), 2 * KEYS);
    let by = |publisher: &str| -> BTreeMap<&str, u32> {
        let theirs = records.iter().filter(|record| record.value == publisher);
        theirs.map(|record| (record.key.as_str(), record.partition)).collect()
    };
    let (java, polymq) = (by("java"), by("polymq"));
    let used: BTreeSet<_> = java.values().collect();
    println!("{KEYS} keys in {} partitions, by Java and by polymq", used.len());
    assert_eq!(java.len(), KEYS);
    assert_eq!(java, polymq);
    assert!(used.len() > 6, "{used:?}");
}

async fn a_tombstone_is_one_on_both_sides(series: &str) {
    let place = Kafka::place(series).await;
    let (config, topic) = (place.config(CONFIG), place.topic("orders"));
    apply(&config).await;
    java_publishes(&place, &topic, "of-java:NULL").await;
    let ours = [json!({ "key": "of-polymq" }), json!({ "key": "empty", "payload_base64": "" })];
    publish(&config, "orders", &ours).await;

    let mut records = java_reads(&place, &topic, 3).await;
    records.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let values: Vec<_> = records.iter().map(|r| (r.key.as_str(), r.value.as_str())).collect();
    assert_eq!(values, [("empty", ""), ("of-java", "NULL"), ("of-polymq", "NULL")]);
    for line in sub(&config, "mailer", 3).await {
        let has_payload = line["key"] == "empty";
        let payload = line.get("payload").or(line.get("payload_base64"));
        assert_eq!(payload.is_some_and(|payload| *payload != Value::Null), has_payload, "{line}");
    }
}
