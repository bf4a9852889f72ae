"""Publishes what an application without polymq would publish, with RabbitMQ's own Python client.

publish.py URL EXCHANGE ROUTING_KEY
"""

import sys

import pika

url, exchange, routing_key = sys.argv[1:]

BARE = pika.BasicProperties()
FULL = pika.BasicProperties(
    message_id="foreign-1",
    type="order.placed",
    correlation_id="conversation-7",
    reply_to="answers",
    content_type="application/json",
    expiration="600000",
    priority=4,
    timestamp=1_600_000_000,
    delivery_mode=2,
    headers={
        "text": "grüße",
        "integer": -42,
        "large": 2**40,
        "boolean": True,
        "nothing": None,
        "binary": b"\xff\x00",
        "table": {"inner": 1, "list": ["a", 2]},
    },
)

connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()
for body, properties in [
    (b"bare", BARE),
    (b"\x00\xfe binary", BARE),
    (b"", BARE),
    (b'{"order": 1}', FULL),
]:
    # Raises unless the broker confirms it, and had a queue for it.
    channel.basic_publish(exchange, routing_key, body, properties, mandatory=True)
connection.close()
