//! Answers against what was expected: value by value, with patterns where a value cannot be known. `functions/README.md`
//! describes them.

use regex_lite::Regex;
use serde_json::Value;

/// Where `answer` is not as `expected`, if it is not.
pub(in crate::cli) fn mismatch(expected: &[u8], answer: &[u8]) -> Option<String> {
    let read = |text: &[u8], which: &str| {
        serde_json::from_slice::<Value>(text).map_err(|error| format!("{which} is not JSON ({error})"))
    };
    match (read(expected, "expected.json"), read(answer, "the answer")) {
        (Ok(expected), Ok(answer)) => differ(&expected, &answer, "$"),
        (Err(problem), _) | (_, Err(problem)) => Some(problem),
    }
}

fn differ(expected: &Value, answer: &Value, at: &str) -> Option<String> {
    let unequal = || Some(format!("{at} is {}, not {expected}", shortened(answer)));
    match (expected, answer) {
        (Value::Object(pattern), _) if pattern.len() == 1 && pattern.keys().all(|key| key.starts_with('$')) => {
            if matches(pattern, answer) {
                None
            } else {
                unequal()
            }
        }
        (Value::Object(expected), Value::Object(answer)) => {
            if let Some(extra) = answer.keys().find(|key| !expected.contains_key(*key)) {
                return Some(format!("{at}.{extra} is not expected"));
            }
            expected.iter().find_map(|(key, value)| match answer.get(key) {
                None => Some(format!("{at}.{key} is missing")),
                Some(found) => differ(value, found, &format!("{at}.{key}")),
            })
        }
        (Value::Array(expected), Value::Array(answer)) if expected.len() == answer.len() => expected
            .iter()
            .zip(answer)
            .enumerate()
            .find_map(|(index, (expected, answer))| differ(expected, answer, &format!("{at}[{index}]"))),
        // 1 and 1.0 are the same number to JSON, and to Python's ==.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ if expected == answer => None,
        _ => unequal(),
    }
}

fn matches(pattern: &serde_json::Map<String, Value>, answer: &Value) -> bool {
    let rule = pattern.iter().next().and_then(|(key, rule)| Some((key.as_str(), rule.as_str()?)));
    match rule {
        Some(("$regex", expression)) => {
            let Ok(expression) = Regex::new(&format!("^(?:{expression})$")) else { return false };
            answer.as_str().is_some_and(|text| expression.is_match(text))
        }
        Some(("$type", name)) => name == type_name(answer),
        _ => false,
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

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(80).collect::<String>() + "…" }
}

#[cfg(test)]
mod tests {
    use super::mismatch;

    #[test]
    fn values_and_patterns() {
        for (expected, answer, problem) in [
            (r#"{"a": [1, 2.0]}"#, r#"{"a": [1.0, 2]}"#, None),
            (r#"{"a": 1}"#, r#"{"a": 2}"#, Some("$.a is 2, not 1")),
            (r#"{"a": 1}"#, "{}", Some("$.a is missing")),
            ("{}", r#"{"b": 1}"#, Some("$.b is not expected")),
            ("[1]", "[1, 2]", Some("$ is [1,2], not [1]")),
            (r#"{"$regex": "[0-9]+"}"#, r#""12""#, None),
            (r#"{"$regex": "[0-9]+"}"#, r#""12x""#, Some(r#"$ is "12x", not {"$regex":"[0-9]+"}"#)),
            (r#"{"$regex": "a|b"}"#, r#""bc""#, Some(r#"$ is "bc", not {"$regex":"a|b"}"#)),
            (r#"{"a": {"$type": "number"}}"#, r#"{"a": 7}"#, None),
            (r#"{"a": {"$type": "number"}}"#, r#"{"a": "7"}"#, Some(r#"$.a is "7", not {"$type":"number"}"#)),
            (r#"{"$unknown": "x"}"#, "7", Some(r#"$ is 7, not {"$unknown":"x"}"#)),
        ] {
            assert_eq!(mismatch(expected.as_bytes(), answer.as_bytes()).as_deref(), problem, "{expected} {answer}");
        }
    }
}
