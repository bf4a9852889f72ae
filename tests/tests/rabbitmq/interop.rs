//! Messages of and for applications that use another client: pika, RabbitMQ's own for Python.

use std::path::Path;

use polymq_core::Service;
use polymq_tests::real::{Place, Process, built, start};
use serde_json::{Value, json};
use tokio::process::Command;

on_each_series!(
    what_pika_publishes_is_handled_with_all_that_it_says,
    what_polymq_publishes_pika_reads_with_all_that_it_says,
    the_routing_key_of_a_foreign_message_is_its_subject_on_a_topic,
);

const CONFIG: &str = r#"
[channels.orders]
kind = "queue"
[channels.events]
kind = "topic"
[consumers.mailer]
channel = "orders"
[consumers.auditor]
channel = "events"
subjects = ["order.*"]
"#;

/// Runs a script of `tests/interop` to its end; what it printed.
async fn python(script: &str, arguments: &[&str]) -> String {
    let interpreter = std::env::var("TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_pika = Command::new(&interpreter).args(["-c", "import pika"]).output().await;
    assert!(
        has_pika.is_ok_and(|output| output.status.success()),
        "`{interpreter}` has no pika: `cargo xtask test` brings it; else install Debian's python3-pika or \
         `pip install pika`, and name the interpreter that has it in TEST_PYTHON"
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(script);
    let mut command = Command::new(interpreter);
    Process::spawn(command.arg(script).args(arguments)).ended().await.assert_success()
}

/// The lines that `polymq sub` prints about so many messages.
async fn sub(config: &Path, consumer: &str, count: usize) -> Vec<Value> {
    let mut command = Command::new(built("polymq").await);
    command.arg("--json").arg("--config").arg(config).args(["sub", consumer]);
    command.args(["--count", &count.to_string(), "--idle", "20s"]);
    let received = lines(&Process::spawn(&mut command).ended().await.assert_success());
    assert_eq!(received.len(), count, "{received:#?}");
    received
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Creates the topology.
async fn apply(config: &Path) {
    start(config, Service::new(())).await.drain().await;
}

async fn what_pika_publishes_is_handled_with_all_that_it_says(series: &str) {
    let place = Place::shared(series).await;
    let config = place.config(CONFIG);
    apply(&config).await;
    // As an application does that knows the queue alone: through the default exchange.
    python("publish.py", &[place.url(), "", "test.orders"]).await;

    let mut received = sub(&config, "mailer", 4).await;
    let full = received.iter().position(|line| line["id"] == "from-pika-1");
    let full = received.remove(full.unwrap_or_else(|| panic!("{received:#?}")));
    assert_eq!(full["payload"], json!({ "order": 1 }));
    let said = [
        ("type", json!("order.placed")),
        ("correlation_id", json!("conversation-7")),
        ("reply_to", json!("answers")),
        ("content_type", json!("application/json")),
        ("priority", json!(4)),
        ("timestamp", json!("2020-09-13T12:26:40.000Z")),
        // The broker has heeded `expiration`; counted from that timestamp, the message were long expired.
        ("ttl", json!(null)),
        ("attempt", json!(1)),
    ];
    for (field, value) in said {
        assert_eq!(full[field], value, "{field} of {full}");
    }
    let headers = [
        ("text", json!("grüße")),
        ("integer", json!("-42")),
        ("large", json!("1099511627776")),
        ("boolean", json!("true")),
        ("nothing", json!("")),
        ("binary", json!({ "base64": "/wA=" })),
        ("table", json!(r#"{"inner":1,"list":["a",2]}"#)),
    ];
    for (name, value) in headers {
        assert_eq!(full["headers"][name], value, "{name} of {full}");
    }

    for line in &received {
        assert_eq!((&line["attempt"], &line["headers"]), (&json!(1), &json!({})), "{line}");
    }
    let bodies = received.iter().map(|line| match &line["payload_base64"] {
        Value::Null => &line["payload"],
        bytes => bytes,
    });
    let mut bodies: Vec<_> = bodies.map(|body| body.as_str().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["", "AP4gYmluYXJ5", "bare"]);
}

async fn what_polymq_publishes_pika_reads_with_all_that_it_says(series: &str) {
    let place = Place::shared(series).await;
    let config = place.config(CONFIG);
    apply(&config).await;
    let input = [
        json!({
            "id": "from-polymq-1", "type": "order.placed", "subject": "order.eu", "key": "customer-7",
            "correlation_id": "conversation-7", "causation_id": "cause-3", "reply_to": "answers",
            "content_type": "application/json", "schema_version": 2, "ttl": "10m",
            "headers": { "tenant": "grüße", "raw": { "base64": "/wA=" } },
            "payload": { "order": 1 },
        }),
        json!({ "id": "from-polymq-2", "payload_base64": "AP4gYmluYXJ5" }),
    ];
    let input: String = input.iter().map(|line| format!("{line}\n")).collect();
    let mut command = Command::new(built("polymq").await);
    command.arg("--config").arg(&config).args(["pub", "orders"]);
    let answers = Process::spawn_with(&mut command, &input).await.ended().await.assert_success();
    for answer in lines(&answers) {
        assert_eq!(answer["status"], "confirmed", "{answer}");
    }

    let read = lines(&python("read.py", &[place.url(), "test.orders", "2"]).await);
    let (full, bytes) = (&read[0], &read[1]);
    let said = [
        ("message_id", json!("from-polymq-1")),
        ("type", json!("order.placed")),
        ("correlation_id", json!("conversation-7")),
        ("reply_to", json!("answers")),
        ("content_type", json!("application/json")),
        ("delivery_mode", json!(2)),
        ("routing_key", json!("order.eu")),
        ("body", json!({ "base64": "eyJvcmRlciI6MX0=" })),
    ];
    for (field, value) in said {
        assert_eq!(full[field], value, "{field} of {full}");
    }
    let headers = [
        ("tenant", json!("grüße")),
        ("raw", json!({ "base64": "/wA=" })),
        ("polymq-key", json!("customer-7")),
        ("polymq-causation-id", json!("cause-3")),
        ("polymq-schema", json!("2")),
        ("cloudEvents:specversion", json!("1.0")),
        ("cloudEvents:subject", json!("order.eu")),
    ];
    for (name, value) in headers {
        assert_eq!(full["headers"][name], value, "{name} of {full}");
    }
    assert_eq!(bytes["message_id"], "from-polymq-2");
    assert_eq!(bytes["body"], json!({ "base64": "AP4gYmluYXJ5" }));
}

async fn the_routing_key_of_a_foreign_message_is_its_subject_on_a_topic(series: &str) {
    let place = Place::shared(series).await;
    let config = place.config(CONFIG);
    apply(&config).await;
    python("publish.py", &[place.url(), "test.events", "order.eu"]).await;
    for line in sub(&config, "auditor", 4).await {
        assert_eq!(line["subject"], "order.eu", "{line}");
    }
}
