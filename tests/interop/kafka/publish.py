"""Publishes what an application without polymq would publish, with Confluent's Python client.

publish.py HOST:PORT TOPIC
"""

import sys

from confluent_kafka import Producer

address, topic = sys.argv[1:]

FULL = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"foreign-1"),
    ("ce_source", b"/shop"),
    ("ce_type", b"order.placed"),
    ("ce_subject", b"order.eu"),
    ("content-type", b"application/json"),
    ("correlation_id", b"conversation-7"),
    ("reply_to", b"answers"),
    ("text", "grüße".encode()),
    ("binary", b"\xff\x00"),
    ("nothing", None),
    ("twice", b"first"),
    ("twice", b"last"),
]


def delivered(error, _):
    if error is not None:
        sys.exit(str(error))


producer = Producer({"bootstrap.servers": address, "acks": "all"})
for value in [b"bare", b"\x00\xfe binary", b""]:
    producer.produce(topic, value=value, on_delivery=delivered)
producer.produce(
    topic,
    key=b"customer-7",
    value=b'{"order": 1}',
    headers=FULL,
    timestamp=1_600_000_000_000,
    on_delivery=delivered,
)
if producer.flush(30):
    sys.exit("not delivered within 30 s")
