//! Messages of applications that use pika, RabbitMQ's own client for Python.

use polymq_tests::real::foreign::{apply, python, sub};
use polymq_tests::real::{Rabbitmq, Site};

on_each_series!(the_routing_key_of_a_foreign_message_is_its_subject_on_a_topic);

const CONFIG: &str = r#"
[channels.events]
kind = "topic"
[consumers.auditor]
channel = "events"
subjects = ["order.*"]
"#;

async fn the_routing_key_of_a_foreign_message_is_its_subject_on_a_topic(series: &str) {
    let place = Rabbitmq::place(series).await;
    let config = place.config(CONFIG);
    apply(&config).await;
    let arguments = [place.url(), "test.events".to_owned(), "order.eu".to_owned()];
    python("pika", "rabbitmq/publish.py", &arguments).await;
    for line in sub(&config, "auditor", 4).await {
        assert_eq!(line["subject"], "order.eu", "{line}");
    }
}
