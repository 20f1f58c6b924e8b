"""Whether an answer is the expected one, by the convention of `functions/README.md`."""

import re

_TYPES = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def differences(expected, actual, path="answer"):
    """A line for each value that is not as expected."""
    if isinstance(expected, dict) and expected.keys() == {"$type"}:
        return [] if _TYPES[expected["$type"]](actual) else [f"{path}: {actual!r} is no {expected['$type']}"]
    if isinstance(expected, dict) and expected.keys() == {"$regex"}:
        matches = isinstance(actual, str) and re.fullmatch(expected["$regex"], actual)
        return [] if matches else [f"{path}: {actual!r} does not match {expected['$regex']!r}"]
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        return [line for key in expected for line in differences(expected[key], actual[key], f"{path}.{key}")]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = enumerate(zip(expected, actual))
        return [line for i, (one, other) in pairs for line in differences(one, other, f"{path}[{i}]")]
    is_same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return [] if is_same else [f"{path}: expected {expected!r}, got {actual!r}"]
