"""Events and results as AWS's runtime reads and writes them. Expectations: what `simplejson` does as that runtime calls it."""

import json
import random
import sys

from compare_results import VALUES
from driver import SOURCES, TestCase

sys.path[:0] = [str(source) for source in SOURCES]
from _mayfly.errors import Fault  # noqa: E402
from _mayfly_cpython import marshalling  # noqa: E402

# Events that come back as they are: every kind of value, in the spelling of the runtime.
ROUND_TRIPS = r"""
null
true
false
0
-1
9223372036854775807
-9223372036854775808
9223372036854775808
123456789012345678901234567890
1.5
-0.0
1e+16
1e-07
0.1
5e-324
1.7976931348623157e+308
123456789.12345679
NaN
Infinity
-Infinity
""
"a b"
"\b\f\n\r\t\"\\/\u001f"
[]
{}
[[], {}, [1, 2]]
{"b": 1, "a": {"c": [true, null]}, "": 0}
""".split("\n")[1:-1]


class Json(TestCase):
    def encode(self, expression):
        names = {}
        exec(VALUES, names)
        return marshalling.encode(eval(expression, names)).decode()

    def test_values_come_back_as_they_went(self):
        for text in ROUND_TRIPS:
            self.assertEqual(marshalling.encode(marshalling.decode(text.encode())), text.encode())

    def test_characters_outside_ascii(self):
        text = '"äöü€𝄞\u2028\x7f"'
        is_escaped = sys.version_info < (3, 12)
        expected = r'"\u00e4\u00f6\u00fc\u20ac\ud834\udd1e\u2028\u007f"' if is_escaped else text
        self.assertEqual(marshalling.encode(marshalling.decode(text.encode())).decode(), expected)

    def test_other_spellings_are_read(self):
        for given, expected in (
            (" \t\r\n[ 1 ,2 ] ", [1, 2]),
            ('{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
            (r'"\u00e9\ud834\udd1e\/"', "é𝄞/"),
            (r'"\ud834"', "\ud834"),
            ("1E5", 100000.0),
            ("-0", 0),
            ("1e999", float("inf")),
        ):
            self.assertEqual(marshalling.decode(memoryview(given.encode())), expected)

    def test_lone_surrogates_are_written_as_escapes(self):
        self.assertEqual(marshalling.encode("\udd1ex\ud834"), rb'"\udd1ex\ud834"')
        self.assertEqual(marshalling.encode(("\udd1e", b"x")), rb'["\udd1e", "x"]')

    def test_python_values_become_json(self):
        for value, expected in (
            ("(1, (2,))", "[1, [2]]"),
            ("Point(1, [Point(2, 3)])", '{"x": 1, "y": [{"x": 2, "y": 3}]}'),
            ("[Point((), {})]", '[{"x": [], "y": {}}]'),
            ("Fielded()", '{"a": {"x": 1, "y": "b"}}'),
            ("Color.RED", "1"),
            ("Name.A", '"a"'),
            ("{Color.RED: Name.A, Name.A: Text('t')}", '{"1": "a", "a": "t"}'),
            ("[Loud(1.5), b'', Loud('inf'), Loud('-inf'), Loud('nan')]", '[1.5, "", Infinity, -Infinity, NaN]'),
            ("{1: 1, 1.5: 2, None: 3, False: 4, True: b'5'}", '{"1": "5", "1.5": 2, "null": 3, "false": 4}'),
            ("{b'key': 1}", '{"key": 1}'),
            ("collections.OrderedDict(b=1, a=2)", '{"b": 1, "a": 2}'),
            ("collections.defaultdict(list, a=[1])", '{"a": [1]}'),
            ("decimal.Decimal('1.10')", "1.10"),
            ("decimal.Decimal('-NaN')", "NaN"),
            ("[b'bytes']", '["bytes"]'),
            ("2 ** 70", "1180591620717411303424"),
        ):
            self.assertEqual(self.encode(value), expected, value)

    def test_what_has_no_json_says_so(self):
        for value, error, expected in (
            ("object()", TypeError, "Object of type object is not JSON serializable"),
            ("{'a': 1j}", TypeError, "Object of type complex is not JSON serializable"),
            ("{(1, 2): 1}", TypeError, "keys must be str, int, float, bool or None, not tuple"),
            ("[a := [], a.append({'a': a})]", ValueError, "Circular reference detected"),
            ("[b'\\xff']", UnicodeDecodeError, "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ):
            with self.assertRaises(error) as caught:
                self.encode(value)
            self.assertEqual(str(caught.exception), expected, value)

    def test_nesting_ends_in_an_error(self):
        value = []
        for _ in range(200_000):
            value = [value]
        with self.assertRaisesRegex(RecursionError, "^maximum recursion depth exceeded while encoding a JSON object$"):
            marshalling.encode(value)
        while value:
            value = value[0]
        with self.assertRaisesRegex(Fault, "^Unable to unmarshal input: maximum recursion depth exceeded"):
            marshalling.decode(b"[" * 200_000 + b"]" * 200_000)
        self.assertEqual(marshalling.encode(marshalling.decode(b"[" * 100 + b"]" * 100)), b"[" * 100 + b"]" * 100)

    def test_the_fast_and_the_slow_way_agree(self):
        generator = random.Random(1)
        for _ in range(300):
            value = _some_value(generator, 4)
            expected = json.dumps(value, ensure_ascii=sys.version_info < (3, 12))
            self.assertEqual(marshalling.encode(value).decode(), expected)
            self.assertEqual(marshalling._encode_slowly(value, marshalling._quote), expected)


def _some_value(generator, depth):
    kind = generator.randrange(9 if depth else 7)
    if kind < 3:
        return (None, True, False)[kind]
    if kind < 5:
        return (generator.randrange(-(2**70), 2**70), generator.uniform(-1e300, 1e300))[kind - 3]
    if kind < 7:
        return "".join(chr(generator.choice((34, 92, 10, 97, 228, 0x20AC, 0x1D11E))) for _ in range(5))
    values = [_some_value(generator, depth - 1) for _ in range(generator.randrange(4))]
    return values if kind == 7 else {str(i): value for i, value in enumerate(values)}
