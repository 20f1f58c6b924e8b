"""Prints what AWS's client and this runtime make of the same results: a list of [expression, theirs, ours].

Runs with `awslambdaric` and the runtime on PYTHONPATH, in a process of its own: its encoder depends on the environment.
"""

import json
import os
import pathlib
import sys

VALUES = """
import collections, decimal, enum
Point = collections.namedtuple('Point', 'x y')
class Color(enum.IntEnum): RED = 1
class Name(str, enum.Enum): A = 'a'
class Text(str): pass
class Loud(float):
    def __repr__(self): return 'loud'
class Fielded:
    def _asdict(self): return {'a': Point(1, b'b')}
"""


def main():
    os.environ["AWS_EXECUTION_ENV"] = "AWS_Lambda_python%d.%d" % sys.version_info[:2]
    from _mayfly_cpython import marshalling
    from awslambdaric import lambda_runtime_marshaller

    theirs = lambda_runtime_marshaller.LambdaMarshaller()
    names = {}
    exec(VALUES, names)
    expressions = pathlib.Path(__file__).with_name("values.txt").read_text().splitlines()
    results = []
    for expression in expressions:
        value = eval(expression, names)
        try:
            expected = theirs.marshal_response(value)[0]
        except Exception as error:
            expected = error.msg
        try:
            actual = marshalling.encode(value)
        except Exception as error:
            actual = f"Unable to marshal response: {error}".encode()
        expected = expected if isinstance(expected, bytes) else expected.encode()
        results.append([expression, expected.hex(), actual.hex()])
    print(json.dumps(results))


if __name__ == "__main__":
    main()
