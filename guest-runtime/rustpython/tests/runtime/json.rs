//! Events and results as AWS's runtime reads and writes them.

use crate::driver::Program;

/// Events that must come back as they are: every kind of value, in the spelling of the runtime.
const ROUND_TRIPS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "123456789012345678901234567890",
    "1.5",
    "-0.0",
    "1e+16",
    "1e-07",
    "0.1",
    "5e-324",
    "1.7976931348623157e+308",
    "123456789.12345679",
    "NaN",
    "Infinity",
    "-Infinity",
    r#""""#,
    r#""a b""#,
    r#""äöü€𝄞\u0000""#,
    r#""\b\f\n\r\t\"\\/\u001f\u007f""#,
    "[]",
    "{}",
    "[[], {}, [1, 2]]",
    r#"{"b": 1, "a": {"c": [true, null]}, "": 0}"#,
];

#[test]
fn values_come_back_as_they_went() {
    let mut program = Program::with_handler("def handler(event, context): return event");
    for text in ROUND_TRIPS {
        let expected = text.replace(r"\u007f", "\u{7f}");
        assert_eq!(program.invoke_bytes(text.as_bytes()).text(), expected);
    }
}

#[test]
fn other_spellings_are_read() {
    let mut program = Program::with_handler("def handler(event, context): return event");
    for (given, expected) in [
        (" \t\r\n[ 1 ,2 ] ", "[1, 2]"),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
        (r#""\u00e9\ud834\udd1e\/""#, r#""é𝄞/""#),
        (r#""\ud834""#, r#""\ud834""#),
        (r#""\udd1ex\ud834""#, r#""\udd1ex\ud834""#),
        ("1E5", "100000.0"),
        ("-0", "0"),
        ("1e999", "Infinity"),
    ] {
        assert_eq!(program.invoke_bytes(given.as_bytes()).text(), expected, "{given}");
    }
}

#[test]
fn python_values_become_json() {
    let mut program = Program::with_handler(
        "import collections, decimal, enum
Point = collections.namedtuple('Point', 'x y')
class Color(enum.IntEnum): RED = 1
class Name(enum.StrEnum): A = 'a'
class Text(str): pass
class Loud(float):
    def __repr__(self): return 'loud'
def handler(event, context): return eval(event)",
    );
    for (value, expected) in [
        ("(1, (2,))", "[1, [2]]"),
        ("Point(1, [Point(2, 3)])", r#"{"x": 1, "y": [{"x": 2, "y": 3}]}"#),
        ("Color.RED", "1"),
        ("Name.A", r#""a""#),
        ("{Color.RED: Name.A, Name.A: Text('t')}", r#"{"1": "a", "a": "t"}"#),
        ("Loud(1.5)", "1.5"),
        ("{1: 1, 1.5: 2, None: 3, False: 4}", r#"{"1": 1, "1.5": 2, "null": 3, "false": 4}"#),
        ("collections.OrderedDict(b=1, a=2)", r#"{"b": 1, "a": 2}"#),
        ("collections.defaultdict(list, a=[1])", r#"{"a": [1]}"#),
        ("decimal.Decimal('1.10')", "1.10"),
        ("decimal.Decimal('-NaN')", "NaN"),
        ("[b'bytes']", r#"["bytes"]"#),
        ("2 ** 70", "1180591620717411303424"),
    ] {
        assert_eq!(program.invoke(&serde_json::json!(value)).text(), expected, "{value}");
    }
}

#[test]
fn what_has_no_json_says_so() {
    let mut program = Program::with_handler(
        "def circle():
    a = []
    a.append({'a': a})
    return a
def deep():
    a = []
    for _ in range(100_000): a = [a]
    return a
def handler(event, context): return eval(event)",
    );
    for (value, expected) in [
        ("object()", "Object of type object is not JSON serializable"),
        ("{'a': 1j}", "Object of type complex is not JSON serializable"),
        ("{(1, 2): 1}", "keys must be str, int, float, bool or None, not tuple"),
        ("circle()", "Circular reference detected"),
        ("deep()", "maximum recursion depth exceeded while encoding a JSON object"),
    ] {
        let error = program.invoke(&serde_json::json!(value)).error();
        assert_eq!(error["errorType"], "Runtime.MarshalError", "{value}");
        assert_eq!(error["errorMessage"], format!("Unable to marshal response: {expected}"), "{value}");
    }
}

#[test]
fn nesting_ends_in_an_error() {
    let mut program = Program::with_handler("def handler(event, context): return 'read'");
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for depth in [100, 500, 1_000] {
        assert_eq!(program.invoke_bytes(nested(depth).as_bytes()).text(), "\"read\"", "{depth}");
    }
    for payload in [nested(1_001), nested(1_000_000), format!("[{}, {}]", u128::MAX, nested(1_000_000))] {
        let error = program.invoke_bytes(payload.as_bytes()).error();
        assert_eq!(error["errorType"], "Runtime.UnmarshalError");
        assert_eq!(
            error["errorMessage"],
            "Unable to unmarshal input: maximum recursion depth exceeded while decoding a JSON document"
        );
    }
    assert_eq!(program.invoke_bytes(b"[]").text(), "\"read\"");
}
