"""Takes messages off a queue with RabbitMQ's own Python client and prints each as a line of JSON.

read.py URL QUEUE COUNT
"""

import base64
import json
import sys

import pika

url, queue, count = sys.argv[1:]

PROPERTIES = [
    "message_id",
    "type",
    "correlation_id",
    "reply_to",
    "content_type",
    "content_encoding",
    "expiration",
    "priority",
    "timestamp",
    "delivery_mode",
]


def plain(value):
    """What JSON cannot say, said in base 64."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value


connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
left = int(count)
for method, properties, body in channel.consume(queue, inactivity_timeout=10):
    if method is None:
        sys.exit(f"{left} messages of {count} did not come within 10 s")
    message = {name: getattr(properties, name) for name in PROPERTIES}
    message["headers"] = {k: plain(v) for k, v in (properties.headers or {}).items()}
    message["body"] = plain(body)
    message["routing_key"] = method.routing_key
    print(json.dumps(message))
    channel.basic_ack(method.delivery_tag)
    left -= 1
    if left == 0:
        break
connection.close()
