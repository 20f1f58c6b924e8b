//! Names of functions: bare, as part of an ARN, or a whole ARN, each with or without a qualifier.

use mayfly_scheduler::limits::FUNCTION_NAME_CHARS;

use super::{Error, Kind, constraint};
use crate::stack::Call;

/// Longest name or ARN where one is created or changed.
const NAME_CHARS: usize = 140;
/// The version that every function has.
pub const LATEST: &str = "$LATEST";

/// Patterns as clients see them in messages.
const PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?";
const QUALIFIER_PATTERN: &str = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+";

/// A name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// Bare.
    pub name: String,
    /// From the name or beside it.
    pub qualifier: Option<String>,
    region: Option<String>,
    account: Option<String>,
}

/// The function that a call is about: known by its bare name, of this account and region.
#[derive(Debug, Clone)]
pub struct Target {
    /// Bare name.
    pub name: String,
    /// Unqualified.
    pub arn: String,
    /// As the caller did.
    pub qualifier: Option<String>,
}

impl FunctionName {
    /// Reads `text`.
    ///
    /// # Errors
    /// It does not have the form, or is too long.
    pub fn parse(text: &str) -> Result<FunctionName, Error> {
        let parsed = split(text);
        let Some(parsed) = parsed else {
            let rule = format!("Member must satisfy regular expression pattern: {PATTERN}");
            return Err(Error::new(Kind::Validation, constraint::one("functionName", Some(text), &rule)));
        };
        if parsed.name.len() > FUNCTION_NAME_CHARS && parsed.name == text {
            let rule = format!("Member must have length less than or equal to {FUNCTION_NAME_CHARS}");
            return Err(Error::parameter(constraint::one("functionName", Some(text), &rule)));
        }
        if text.len() > NAME_CHARS || parsed.name.len() > FUNCTION_NAME_CHARS {
            let rule = format!("Member must have length less than or equal to {NAME_CHARS}");
            return Err(Error::new(Kind::Validation, constraint::one("functionName", Some(text), &rule)));
        }
        Ok(parsed)
    }

    /// Makes sure that it is of this account and region, and returns what is left.
    ///
    /// # Errors
    /// It is another's.
    pub fn here(self, call: &Call) -> Result<Target, Error> {
        let settings = call.gateway.platform.settings();
        if let Some(region) = self.region.filter(|region| *region != settings.region) {
            let text = format!("Functions from '{region}' are not reachable in this region ('{}')", settings.region);
            return Err(Error::new(Kind::ResourceNotFound, text));
        }
        if let Some(account) = self.account.filter(|account| *account != settings.account_id) {
            let text = format!(
                "Account {account} is not served here, but {}. Use the bare name, or start Mayfly with --account-id {account}.",
                settings.account_id
            );
            return Err(Error::new(Kind::AccessDenied, text));
        }
        Ok(Target { arn: call.gateway.platform.arn(&self.name), name: self.name, qualifier: self.qualifier })
    }
}

impl Target {
    /// The function of a call whose path and `Qualifier` name it.
    ///
    /// # Errors
    /// The name cannot be read, or the two contradict each other.
    pub fn of(call: &Call) -> Result<Target, Error> {
        let mut name = FunctionName::parse(call.argument(0))?;
        if let Some(beside) = call.query("Qualifier").filter(|text| !text.is_empty()) {
            let is_fine = beside.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_$".contains(&b));
            if !is_fine && beside != "$LATEST.PUBLISHED" {
                let rule = format!("Member must satisfy regular expression pattern: {QUALIFIER_PATTERN}");
                return Err(Error::new(Kind::Validation, constraint::one("qualifier", Some(&beside), &rule)));
            }
            if name.qualifier.as_ref().is_some_and(|inside| *inside != beside) {
                return Err(Error::parameter(
                    "The derived qualifier from the function name does not match the specified qualifier.",
                ));
            }
            name.qualifier = Some(beside);
        }
        name.here(call)
    }

    /// The function of a call that is about functions as a whole, not about one of their versions.
    ///
    /// # Errors
    /// As [`Target::of`], or there is a qualifier.
    pub fn unqualified(call: &Call) -> Result<Target, Error> {
        let target = Target::of(call)?;
        if target.qualifier.is_none() {
            return Ok(target);
        }
        Err(Error::parameter(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
             Please specify either a function name or an unqualified function ARN.",
        ))
    }

    /// The ARN, qualified if the caller did.
    #[must_use]
    pub fn arn_as_called(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.arn),
            None => self.arn.clone(),
        }
    }

    /// Refuses versions and aliases, of which there are none yet.
    ///
    /// # Errors
    /// The qualifier is not `$LATEST`.
    pub fn must_be_latest(&self) -> Result<(), Error> {
        match self.qualifier.as_deref() {
            None | Some(LATEST) => Ok(()),
            Some(_) => Err(Error::function_not_found(&self.arn_as_called())),
        }
    }
}

/// Takes a name apart as the pattern does: each part in front is taken if something that can be a name follows.
fn split(text: &str) -> Option<FunctionName> {
    let mut rest = text;
    if let Some(after) = text.strip_prefix("arn:") {
        let (partition, after) = after.split_once(':')?;
        let is_partition = partition.is_empty()
            || partition.strip_prefix("aws").is_some_and(|p| p.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'));
        rest = after.strip_prefix("lambda:").filter(|_| is_partition)?;
    }
    let mut prefix = |is_wanted: fn(&str) -> bool| {
        let (segment, after) = rest.split_once(':')?;
        let next = after.split(':').next().unwrap_or_default();
        (is_wanted(segment) && is_name(next)).then(|| {
            rest = after;
            segment.to_owned()
        })
    };
    let region = prefix(is_region);
    let account = prefix(|segment| segment.len() == 12 && segment.bytes().all(|b| b.is_ascii_digit()));
    let _ = prefix(|segment| segment == "function");

    let (name, qualifier) = match rest.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (rest, None),
    };
    let is_qualified = qualifier.is_none_or(|text| text == LATEST || is_name(text));
    (is_name(name) && is_qualified).then(|| FunctionName {
        name: name.to_owned(),
        qualifier: qualifier.map(str::to_owned),
        region,
        account,
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// `[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}`
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_lower = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let (first, place, number) = match parts[..] {
        [first, place, number] => (first, place, number),
        [first, special, place, number] if special == "gov" || (special.starts_with("iso") && special.len() <= 4) => {
            (first, place, number)
        }
        _ => return false,
    };
    first.len() == 2 && is_lower(first) && is_lower(place) && number.len() == 1 && number.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Option<String>, Option<String>, Option<String>) {
        let name = FunctionName::parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.message));
        (name.name, name.qualifier, name.region, name.account)
    }

    #[test]
    fn every_form() {
        let some = |text: &str| Some(text.to_owned());
        let (region, account) = (some("us-east-1"), some("123456789012"));
        for (text, expected) in [
            ("f", ("f", None, None, None)),
            ("f:$LATEST", ("f", some("$LATEST"), None, None)),
            ("f:3", ("f", some("3"), None, None)),
            ("function:f", ("f", None, None, None)),
            ("function", ("function", None, None, None)),
            ("function:$LATEST", ("function", some("$LATEST"), None, None)),
            ("123456789012", ("123456789012", None, None, None)),
            ("123456789012:function:f", ("f", None, None, account.clone())),
            ("123456789012:f", ("f", None, None, account.clone())),
            ("us-east-1:f", ("f", None, region.clone(), None)),
            ("us-gov-west-1:123456789012:f", ("f", None, some("us-gov-west-1"), account.clone())),
            ("arn:aws:lambda:us-east-1:123456789012:function:f", ("f", None, region.clone(), account.clone())),
            ("arn:aws-cn:lambda:us-east-1:123456789012:function:f:live", ("f", some("live"), region, account)),
        ] {
            let (name, qualifier, region, account) = expected;
            assert_eq!(parts(text), (name.to_owned(), qualifier, region, account), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_name() {
        let long_arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{}", "a".repeat(94));
        for (text, kind, rule) in [
            ("", Kind::Validation, "pattern"),
            ("a b", Kind::Validation, "pattern"),
            ("a/b", Kind::Validation, "pattern"),
            ("ä", Kind::Validation, "pattern"),
            ("invalid:function:name", Kind::Validation, "pattern"),
            ("arn:aws:s3:us-east-1:123456789012:function:f", Kind::Validation, "pattern"),
            ("arn:aws:lambda:us-east-1:123400000000@function:f", Kind::Validation, "pattern"),
            ("f:", Kind::Validation, "pattern"),
            ("f:$LATER", Kind::Validation, "pattern"),
            (&"a".repeat(65), Kind::InvalidParameterValue, "less than or equal to 64"),
            (&long_arn, Kind::Validation, "less than or equal to 140"),
        ] {
            let error = FunctionName::parse(text).expect_err(text);
            assert_eq!(error.kind, kind, "{text}");
            let start = format!("1 validation error detected: Value '{text}' at 'functionName' failed to satisfy");
            assert!(error.message.starts_with(&start) && error.message.contains(rule), "{}", error.message);
        }
    }

    #[test]
    fn the_longest_that_may_be() {
        assert_eq!(parts(&"a".repeat(64)).0.len(), 64);
    }
}
