//! A function under load.

use bytes::Bytes;

/// A function, and what it is called with.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Name or ARN.
    pub function: String,
    /// Version or alias.
    pub qualifier: Option<String>,
    /// Its share of the requests is this over the sum of all.
    pub weight: f64,
    /// The event.
    pub event: Bytes,
}

impl Target {
    /// That function with an event of `{}`, as important as others.
    #[must_use]
    pub fn new(function: &str) -> Target {
        Target { function: function.to_owned(), qualifier: None, weight: 1.0, event: Bytes::from_static(b"{}") }
    }

    /// Reads `NAME[=WEIGHT][@FILE]`. Also returns the name of the file with its event; a name or ARN has neither `=` nor `@` in it.
    ///
    /// # Errors
    /// It is something else. One sentence.
    pub fn parse<'a>(text: &'a str, template: &Target) -> Result<(Target, Option<&'a str>), String> {
        let (head, file) = match text.split_once('@') {
            Some((head, file)) => (head, Some(file)),
            None => (text, None),
        };
        let (function, weight) = match head.split_once('=') {
            Some((function, weight)) => (function, weight.parse::<f64>().unwrap_or(f64::NAN)),
            None => (head, 1.0),
        };
        if function.is_empty() || file == Some("") || !(weight > 0.0 && weight.is_finite()) {
            return Err(format!("'{text}' is not NAME, NAME=WEIGHT or NAME=WEIGHT@FILE, with a weight above 0"));
        }
        Ok((Target { function: function.to_owned(), weight, ..template.clone() }, file))
    }

    /// Path and query of its invocation.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = format!("/2015-03-31/functions/{}/invocations", encoded(&self.function));
        if let Some(qualifier) = &self.qualifier {
            path.push_str("?Qualifier=");
            path.push_str(&encoded(qualifier));
        }
        path
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let template = Target { qualifier: Some("$LATEST".into()), ..Target::new("") };
        let parse = |text| Target::parse(text, &template).map(|(t, file)| (t.function, t.weight, file));
        assert_eq!(parse("hello"), Ok(("hello".into(), 1.0, None)));
        assert_eq!(parse("hello=2.5@e.json"), Ok(("hello".into(), 2.5, Some("e.json"))));
        assert_eq!(parse("a:b:c@x@y"), Ok(("a:b:c".into(), 1.0, Some("x@y"))));
        for text in ["", "=1", "a=", "a=0", "a=-1", "a=inf", "a@"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths() {
        let mut target = Target::new("a:b/ä");
        assert_eq!(target.path(), "/2015-03-31/functions/a%3Ab%2F%C3%A4/invocations");
        target.qualifier = Some("$LATEST".into());
        assert_eq!(target.path(), "/2015-03-31/functions/a%3Ab%2F%C3%A4/invocations?Qualifier=%24LATEST");
    }
}
