//! The example functions answer what their folders say.

use crate::driver::{Answer, Program};
use regex_lite::Regex;
use serde_json::Value;
use std::{fs, path::Path};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions");

#[test]
fn examples_answer_as_expected() {
    let mut count = 0;
    for entry in fs::read_dir(EXAMPLES).expect("it is there") {
        let folder = entry.expect("it can be read").path();
        if folder.is_dir() {
            check(&folder);
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} of them were found");
}

fn check(folder: &Path) {
    let name = folder.display();
    let read =
        |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{name}/{file}: {error}"));
    let parse = |file: &str| {
        serde_json::from_str::<Value>(&read(file)).unwrap_or_else(|error| panic!("{name}/{file}: {error}"))
    };
    let settings = parse("function.json");
    assert_eq!(settings["Runtime"], "rustpython", "{name}");

    let mut program = Program::start(&[("handler.py", &read("handler.py"))]);
    let handler = settings["Handler"].as_str().expect("a handler");
    assert_eq!(program.init(handler), Answer::InitOk, "{name}");
    let answer = program.invoke(&parse("event.json")).value();
    assert!(is_as_expected(&parse("expected.json"), &answer), "{name} answered {answer}");
}

/// The convention of `functions/README.md`.
fn is_as_expected(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(pattern), _) if pattern.len() == 1 && pattern.contains_key("$type") => {
            pattern["$type"] == type_name(actual)
        }
        (Value::Object(pattern), _) if pattern.len() == 1 && pattern.contains_key("$regex") => {
            let regex = Regex::new(&format!("^(?:{})$", pattern["$regex"].as_str().expect("a string"))).expect("valid");
            actual.as_str().is_some_and(|text| regex.is_match(text))
        }
        (Value::Object(expected), Value::Object(actual)) => {
            expected.len() == actual.len()
                && expected
                    .iter()
                    .all(|(key, value)| actual.get(key).is_some_and(|actual| is_as_expected(value, actual)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len() && expected.iter().zip(actual).all(|(e, a)| is_as_expected(e, a))
        }
        _ => expected == actual,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
