//! Messages of and for applications that use another client.

mod kafka;
mod rabbitmq;

use polymq_tests::real::foreign::{apply, assert_says, publish, python, sub};
use polymq_tests::real::{Place, Series};
use serde_json::{Value, json};

on_each_series!(
    what_a_foreign_client_publishes_is_handled_with_all_that_it_says,
    what_polymq_publishes_a_foreign_client_reads_with_all_that_it_says,
);

const CONFIG: &str = r#"
[channels.orders]
kind = "queue"
[consumers.mailer]
channel = "orders"
"#;

/// How applications without polymq speak on one broker.
struct Dialect {
    /// The library that they use. Its scripts are in the folder of `tests/interop` with the broker's name.
    library: &'static str,
    folder: &'static str,
    /// Where they find the broker, and where on it `orders`.
    publish_to: Vec<String>,
    read_from: Vec<String>,
    /// What polymq knows of the message in which they say all that they can.
    heard: Value,
    /// What they know of polymq's messages: one in which all is said, and one of bytes.
    said: [Value; 2],
}

impl Dialect {
    fn of(series: Series, place: &Place) -> Self {
        match series {
            Series::Rabbitmq(_) => rabbitmq::dialect(place),
            Series::Kafka(_) => kafka::dialect(place),
        }
    }

    async fn run(&self, script: &str, arguments: &[String]) -> Vec<Value> {
        python(self.library, &format!("{}/{script}", self.folder), arguments).await
    }
}

async fn what_a_foreign_client_publishes_is_handled_with_all_that_it_says(series: Series) {
    let place = Place::shared(series).await;
    let (config, dialect) = (place.config(CONFIG), Dialect::of(series, &place));
    apply(&config).await;
    dialect.run("publish.py", &dialect.publish_to).await;

    let mut received = sub(&config, "mailer", 4).await;
    let full = received.iter().position(|line| line["id"] == "foreign-1");
    let full = received.remove(full.unwrap_or_else(|| panic!("{received:#?}")));
    assert_says(&full, &dialect.heard);
    for line in &received {
        assert_says(line, &json!({ "attempt": 1, "headers": {} }));
    }
    let bodies = received.iter().map(|line| match &line["payload_base64"] {
        Value::Null => &line["payload"],
        bytes => bytes,
    });
    let mut bodies: Vec<_> = bodies.map(|body| body.as_str().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["", "AP4gYmluYXJ5", "bare"]);
}

async fn what_polymq_publishes_a_foreign_client_reads_with_all_that_it_says(series: Series) {
    let place = Place::shared(series).await;
    let (config, dialect) = (place.config(CONFIG), Dialect::of(series, &place));
    apply(&config).await;
    let full = json!({
        "id": "from-polymq-1", "type": "order.placed", "subject": "order.eu", "key": "customer-7",
        "correlation_id": "conversation-7", "causation_id": "cause-3", "reply_to": "answers",
        "content_type": "application/json", "schema_version": 2, "ttl": "10m",
        "headers": { "tenant": "grüße", "raw": { "base64": "/wA=" } },
        "payload": { "order": 1 },
    });
    let bytes = json!({ "id": "from-polymq-2", "payload_base64": "AP4gYmluYXJ5" });
    publish(&config, "orders", &[full, bytes]).await;

    let arguments = [dialect.read_from.as_slice(), &["2".to_owned()]].concat();
    let read = dialect.run("read.py", &arguments).await;
    for (id, said) in ["from-polymq-1", "from-polymq-2"].iter().zip(&dialect.said) {
        let line = read.iter().find(|line| line.to_string().contains(id));
        assert_says(line.unwrap_or_else(|| panic!("no {id} in {read:#?}")), said);
    }
}
