"""JSON by orjson: its own types, options and errors. The answer is its bytes, as they are."""

import dataclasses
import datetime
import enum
import uuid

import orjson


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: float


def handler(event, context):
    value = {
        "event": event,
        "point": Point(1, 2.5),
        "color": Color.RED,
        "time": datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc),
        "uuid": uuid.UUID(int=5),
        "same": orjson.loads(orjson.dumps(event)) == event,
        "numbers": [2**63, -(2**63), 1e300, 0.1],
    }
    try:
        orjson.loads(b'{"a": [1,}')
    except orjson.JSONDecodeError as error:
        value["error"] = [error.lineno, error.colno]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
