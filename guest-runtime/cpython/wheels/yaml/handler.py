"""YAML by libyaml."""

import yaml


def handler(event, context):
    value = yaml.load(event["yaml"], yaml.CSafeLoader)
    try:
        yaml.load("a: [1, 2\nb: 3", yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = error.problem_mark
    return {
        "value": {**value, "day": value["day"].isoformat()},
        "same": yaml.load(yaml.dump(value, Dumper=yaml.CSafeDumper), yaml.CSafeLoader) == value,
        "as_python": yaml.load(event["yaml"], yaml.SafeLoader) == value,
        "error": [mark.line, mark.column],
    }
