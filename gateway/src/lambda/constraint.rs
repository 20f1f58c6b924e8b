//! Constraints of Lambda's model, and the one sentence in which all of their violations are reported.

use std::fmt::{Display, Write};

use super::{Error, Kind};

/// Architectures that Lambda knows.
pub const ARCHITECTURES: &[&str] = &["x86_64", "arm64"];

/// Violations of one request. All of them are found before any is reported.
#[derive(Default)]
pub struct Violations(Vec<String>);

impl Violations {
    /// Notes that `value` of `member` breaks `rule`; `None` is `null`.
    pub fn add(&mut self, member: &str, value: Option<&dyn Display>, rule: &str) {
        self.0.push(violation(member, value, rule));
    }

    /// The member must be there.
    pub fn required<T>(&mut self, member: &str, value: Option<&T>) {
        if value.is_none() {
            self.add(member, None, "Member must not be null");
        }
    }

    /// The text must not be longer.
    pub fn length(&mut self, member: &str, value: Option<&str>, chars_max: usize) {
        if let Some(text) = value.filter(|text| text.chars().count() > chars_max) {
            self.add(member, Some(&text), &format!("Member must have length less than or equal to {chars_max}"));
        }
    }

    /// The number must be in between.
    pub fn range(&mut self, member: &str, value: Option<i64>, range: std::ops::RangeInclusive<i64>) {
        let Some(value) = value else { return };
        if value < *range.start() {
            let rule = format!("Member must have value greater than or equal to {}", range.start());
            self.add(member, Some(&value), &rule);
        } else if value > *range.end() {
            self.add(member, Some(&value), &format!("Member must have value less than or equal to {}", range.end()));
        }
    }

    /// The text must be one of these.
    pub fn one_of(&mut self, member: &str, value: Option<&str>, choices: &[&str]) {
        if let Some(text) = value.filter(|text| !choices.contains(text)) {
            let rule = format!("Member must satisfy enum value set: [{}]", choices.join(", "));
            self.add(member, Some(&text), &rule);
        }
    }

    /// The text must have this form.
    pub fn pattern(&mut self, member: &str, value: Option<&str>, is_match: fn(&str) -> bool, pattern: &str) {
        if let Some(text) = value.filter(|text| !is_match(text)) {
            let rule = format!("Member must satisfy regular expression pattern: {pattern}");
            self.add(member, Some(&text), &rule);
        }
    }

    /// Reports what was found.
    ///
    /// # Errors
    /// Something was.
    pub fn check(self) -> Result<(), Error> {
        let Violations(found) = self;
        match found.len() {
            0 => Ok(()),
            1 => Err(Error::new(Kind::Validation, format!("1 validation error detected: {}", found[0]))),
            n => Err(Error::new(Kind::Validation, format!("{n} validation errors detected: {}", found.join("; ")))),
        }
    }
}

/// The sentence for a single violation.
#[must_use]
pub fn one(member: &str, value: Option<&str>, rule: &str) -> String {
    let value = value.as_ref().map(|text| text as &dyn Display);
    format!("1 validation error detected: {}", violation(member, value, rule))
}

fn violation(member: &str, value: Option<&dyn Display>, rule: &str) -> String {
    let mut text = String::from("Value ");
    match value {
        Some(value) => write!(text, "'{value}'"),
        None => write!(text, "null"),
    }
    .expect("a String takes everything");
    text + " at '" + member + "' failed to satisfy constraint: " + rule
}

/// `arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`
#[must_use]
pub fn is_role_arn(text: &str) -> bool {
    let parse = || {
        let (partition, rest) = text.strip_prefix("arn:")?.split_once(':')?;
        let (account, path) = rest.strip_prefix("iam::")?.split_once(":role")?;
        let is_partition = partition.is_empty() || partition.starts_with("aws");
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let is_path = !path.trim_start_matches('/').is_empty()
            && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b));
        Some(is_partition && is_account && is_path)
    };
    parse().unwrap_or(false)
}

/// The pattern of [`is_role_arn`], for messages.
pub const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";

/// `[^\s]+`
#[must_use]
pub fn has_no_space(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// `[\.\-_/#A-Za-z0-9]+`, up to 512 characters.
#[must_use]
pub fn is_log_group(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/#".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_several() {
        let mut violations = Violations::default();
        violations.range("timeout", Some(901), 1..=900);
        let text = "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have \
                    value less than or equal to 900";
        assert_eq!(violations.check().expect_err("one").message, text);

        let mut violations = Violations::default();
        violations.required::<String>("role", None);
        violations.one_of("packageType", Some("Tar"), &["Zip", "Image"]);
        violations.length("description", Some("abc"), 2);
        violations.pattern("handler", Some("a b"), has_no_space, r"[^\s]+");
        let error = violations.check().expect_err("four");
        assert_eq!(error.kind, Kind::Validation);
        assert_eq!(
            error.message,
            "4 validation errors detected: Value null at 'role' failed to satisfy constraint: Member must not be null; \
             Value 'Tar' at 'packageType' failed to satisfy constraint: Member must satisfy enum value set: [Zip, \
             Image]; Value 'abc' at 'description' failed to satisfy constraint: Member must have length less than or \
             equal to 2; Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression \
             pattern: [^\\s]+"
        );
    }

    #[test]
    fn roles() {
        for good in [
            "arn:aws:iam::123456789012:role/r",
            "arn:aws-cn:iam::123456789012:role/path/r+x",
            "arn::iam::123456789012:roler",
        ] {
            assert!(is_role_arn(good), "{good}");
        }
        for bad in [
            "",
            "r1",
            "arn:aws:iam::12345678901:role/r",
            "arn:aws:iam::123456789012:role/",
            "arn:gcp:iam::123456789012:role/r",
        ] {
            assert!(!is_role_arn(bad), "{bad}");
        }
    }
}
