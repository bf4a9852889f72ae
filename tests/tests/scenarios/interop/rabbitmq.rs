//! pika, RabbitMQ's own client for Python.

use polymq_tests::real::Place;
use serde_json::json;

use super::Dialect;

pub(super) fn dialect(place: &Place) -> Dialect {
    let queue = format!("{}.orders", place.namespace());
    Dialect {
        library: "pika",
        folder: "rabbitmq",
        // As an application does that knows the queue alone: through the default exchange.
        publish_to: vec![place.url(), String::new(), queue.clone()],
        read_from: vec![place.url(), queue],
        heard: json!({
            "type": "order.placed",
            "correlation_id": "conversation-7",
            "reply_to": "answers",
            "content_type": "application/json",
            "priority": 4,
            "timestamp": "2020-09-13T12:26:40.000Z",
            // The broker has heeded `expiration`; counted from that timestamp, the message were long
            // expired.
            "ttl": null,
            "attempt": 1,
            "payload": { "order": 1 },
            "headers": {
                "text": "grüße",
                "integer": "-42",
                "large": "1099511627776",
                "boolean": "true",
                "nothing": "",
                "binary": { "base64": "/wA=" },
                "table": r#"{"inner":1,"list":["a",2]}"#,
            },
        }),
        said: [
            json!({
                "message_id": "from-polymq-1",
                "type": "order.placed",
                "correlation_id": "conversation-7",
                "reply_to": "answers",
                "content_type": "application/json",
                "delivery_mode": 2,
                "routing_key": "order.eu",
                "body": { "base64": "eyJvcmRlciI6MX0=" },
                "headers": {
                    "tenant": "grüße",
                    "raw": { "base64": "/wA=" },
                    "polymq-key": "customer-7",
                    "polymq-causation-id": "cause-3",
                    "polymq-schema": "2",
                    "cloudEvents:specversion": "1.0",
                    "cloudEvents:subject": "order.eu",
                },
            }),
            json!({ "message_id": "from-polymq-2", "body": { "base64": "AP4gYmluYXJ5" } }),
        ],
    }
}
