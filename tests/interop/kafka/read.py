"""Reads a topic with Confluent's Python client and prints each record as a line of JSON.

read.py HOST:PORT TOPIC COUNT
"""

import base64
import json
import sys

from confluent_kafka import Consumer

address, topic, count = sys.argv[1:]


def plain(value):
    """What JSON cannot say, said in base 64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


consumer = Consumer(
    {
        "bootstrap.servers": address,
        "group.id": f"{topic}.read",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
consumer.subscribe([topic])
for left in range(int(count), 0, -1):
    record = consumer.poll(30)
    if record is None:
        sys.exit(f"{left} records of {count} did not come within 30 s")
    if record.error():
        sys.exit(str(record.error()))
    headers = record.headers() or []
    said = {
        "key": plain(record.key()),
        "value": plain(record.value()),
        "partition": record.partition(),
        "timestamp": record.timestamp()[1],
        "headers": {name: plain(value) for name, value in headers},
    }
    print(json.dumps(said))
consumer.close()
