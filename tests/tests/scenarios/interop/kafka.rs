//! confluent-kafka, the client for Python that Kafka's makers publish.

use polymq_tests::real::Place;
use serde_json::json;

use super::Dialect;

pub(super) fn dialect(place: &Place) -> Dialect {
    let topic = vec![place.address(), format!("{}.orders", place.namespace())];
    Dialect {
        library: "confluent_kafka",
        folder: "kafka",
        publish_to: topic.clone(),
        read_from: topic,
        heard: json!({
            "type": "order.placed",
            "subject": "order.eu",
            "key": "customer-7",
            "correlation_id": "conversation-7",
            "reply_to": "answers",
            "content_type": "application/json",
            "timestamp": "2020-09-13T12:26:40.000Z",
            "attempt": 1,
            "payload": { "order": 1 },
            "headers": {
                "text": "grüße",
                "binary": { "base64": "/wA=" },
                "nothing": "",
                "twice": "last",
            },
        }),
        said: [
            json!({
                "key": "customer-7",
                "value": "{\"order\":1}",
                "headers": {
                    "ce_specversion": "1.0",
                    "ce_id": "from-polymq-1",
                    "ce_type": "order.placed",
                    "ce_subject": "order.eu",
                    "content-type": "application/json",
                    "correlation_id": "conversation-7",
                    "reply_to": "answers",
                    "polymq-causation-id": "cause-3",
                    "polymq-schema": "2",
                    "tenant": "grüße",
                    "raw": { "base64": "/wA=" },
                },
            }),
            json!({
                "key": null,
                "value": { "base64": "AP4gYmluYXJ5" },
                "headers": { "ce_id": "from-polymq-2" },
            }),
        ],
    }
}
