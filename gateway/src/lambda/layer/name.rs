//! Names of layers and their versions: bare, or whole ARNs.

use mayfly_scheduler::LayerId;

use crate::{
    lambda::{
        Error, Kind,
        constraint::{self, Violations},
    },
    stack::Call,
};

/// Longest name or ARN.
const NAME_CHARS: usize = 140;

/// Patterns as clients see them in messages.
const NAME_PATTERN: &str = r"(arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+)|[a-zA-Z0-9-_]+";
const VERSION_PATTERN: &str = r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+";
const USED_RULE: &str = r"Member must satisfy constraint: [Member must have length less than or equal to 140, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: (arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+), Member must not be null]";

/// A name, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct LayerName<'a> {
    /// Region and account of an ARN.
    place: Option<(&'a str, &'a str)>,
    name: &'a str,
    version: Option<u64>,
}

/// The layer that the path of a call names.
pub(super) fn layer(call: &Call) -> Result<String, Error> {
    let text = call.argument(0);
    let Some(parsed) = LayerName::parse(text).filter(|parsed| parsed.version.is_none()) else {
        return Err(refused(
            "layerName",
            text,
            &format!("Member must satisfy regular expression pattern: {NAME_PATTERN}"),
        ));
    };
    if text.len() > NAME_CHARS {
        let rule = format!("Member must have length less than or equal to {NAME_CHARS}");
        return Err(refused("layerName", text, &rule));
    }
    parsed.check_account(call, text)?;
    match parsed.place {
        Some((region, _)) if region != call.gateway.platform.settings().region => Err(elsewhere(call, region)),
        _ => Ok(parsed.name.to_owned()),
    }
}

/// The version that the path of a call names.
pub(super) fn version(call: &Call) -> Result<LayerId, Error> {
    let (name, text) = (layer(call)?, call.argument(1));
    let number = text.parse::<i64>().map_err(|_| {
        Error::new(Kind::Serialization, format!("'{text}' at 'VersionNumber' can not be converted to a Long"))
    })?;
    match u64::try_from(number) {
        Ok(version) if version > 0 => Ok(LayerId { name, version }),
        _ => Err(Error::parameter("Layer Version Cannot be less than 1")),
    }
}

/// The version with that ARN.
pub(super) fn of_arn(call: &Call, text: &str) -> Result<LayerId, Error> {
    let Some((parsed, version)) = LayerName::parse_version(text) else {
        let rule = format!("Member must satisfy regular expression pattern: {VERSION_PATTERN}");
        return Err(refused("arn", text, &rule));
    };
    parsed.check_account(call, text)?;
    match parsed.place {
        Some((region, _)) if region != call.gateway.platform.settings().region => Err(elsewhere(call, region)),
        _ => Ok(LayerId { name: parsed.name.to_owned(), version }),
    }
}

/// Checks the form of ARNs of layers that a function shall use.
pub(in crate::lambda) fn check(arns: Option<&[String]>, v: &mut Violations) {
    let Some(arns) = arns else { return };
    if arns.iter().any(|arn| LayerName::parse_version(arn).is_none()) {
        v.add("layers", Some(&format!("[{}]", arns.join(", "))), USED_RULE);
    }
}

/// The layers with these ARNs, of which [`check`] was right. Whether there are such layers is the platform's to check.
pub(in crate::lambda) fn used(call: &Call, arns: &[String]) -> Result<Vec<LayerId>, Error> {
    let here = &call.gateway.platform.settings().region;
    let used = arns.iter().map(|arn| {
        let (parsed, version) = LayerName::parse_version(arn)
            .ok_or_else(|| Error::new(Kind::Validation, constraint::one("layers", Some(arn), USED_RULE)))?;
        parsed.check_account(call, arn)?;
        if parsed.place.is_some_and(|(region, _)| region != here) {
            return Err(Error::parameter(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {here}."
            )));
        }
        Ok(LayerId { name: parsed.name.to_owned(), version })
    });
    used.collect()
}

impl<'a> LayerName<'a> {
    fn parse(text: &'a str) -> Option<LayerName<'a>> {
        let Some(arn) = text.strip_prefix("arn:") else {
            return is_word(text, b"-_").then_some(LayerName { place: None, name: text, version: None });
        };
        let parts: Vec<&str> = arn.split(':').collect();
        let (partition, region, account, name, version) = match parts[..] {
            [partition, "lambda", region, account, "layer", name] => (partition, region, account, name, None),
            [partition, "lambda", region, account, "layer", name, version] => {
                let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
                // One that is too large is none that there is.
                let version = is_number.then(|| version.parse().unwrap_or(u64::MAX)).filter(|_| !version.is_empty())?;
                (partition, region, account, name, Some(version))
            }
            _ => return None,
        };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_fine = is_word(partition, b"-") && is_word(region, b"-") && is_account && is_word(name, b"-_");
        is_fine.then_some(LayerName { place: Some((region, account)), name, version })
    }

    /// The ARN of a version.
    fn parse_version(text: &'a str) -> Option<(LayerName<'a>, u64)> {
        let parsed = LayerName::parse(text).filter(|_| text.len() <= NAME_CHARS)?;
        let version = parsed.version?;
        Some((parsed, version))
    }

    /// Makes sure that `text` is of this account.
    fn check_account(&self, call: &Call, text: &str) -> Result<(), Error> {
        let here = &call.gateway.platform.settings().account_id;
        match self.place {
            Some((_, account)) if account != here => Err(Error::new(
                Kind::AccessDenied,
                format!(
                    "User: arn:aws:iam::{here}:root is not authorized to perform: lambda:GetLayerVersion on resource: {text} \
                     because no resource-based policy allows the lambda:GetLayerVersion action. Mayfly has no layers of other \
                     accounts: publish the layer's zip here."
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn elsewhere(call: &Call, region: &str) -> Error {
    let here = &call.gateway.platform.settings().region;
    let text = format!("Layers from '{region}' are not reachable in this region ('{here}')");
    Error::new(Kind::ResourceNotFound, text)
}

fn refused(member: &str, text: &str, rule: &str) -> Error {
    Error::new(Kind::Validation, constraint::one(member, Some(text), rule))
}

fn is_word(text: &str, more: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let place = Some(("us-east-1", "123456789012"));
        for (text, expected) in [
            ("numpy", Some((None, "numpy", None))),
            ("a-b_9", Some((None, "a-b_9", None))),
            ("arn:aws:lambda:us-east-1:123456789012:layer:numpy", Some((place, "numpy", None))),
            ("arn:aws:lambda:us-east-1:123456789012:layer:numpy:7", Some((place, "numpy", Some(7)))),
            (
                "arn:aws:lambda:us-east-1:123456789012:layer:numpy:99999999999999999999",
                Some((place, "numpy", Some(u64::MAX))),
            ),
            ("", None),
            ("a b", None),
            ("numpy:7", None),
            ("arn:aws:lambda:us-east-1:123456789012:function:f", None),
            ("arn:aws:lambda:us-east-1:12345678901:layer:numpy", None),
            ("arn:aws:lambda:us-east-1:123456789012:layer:", None),
            ("arn:aws:lambda:us-east-1:123456789012:layer:numpy:", None),
            ("arn:aws:lambda:us-east-1:123456789012:layer:numpy:-1", None),
            ("arn:aws:lambda:us-east-1:123456789012:layer:numpy:7:8", None),
        ] {
            let expected = expected.map(|(place, name, version)| LayerName { place, name, version });
            assert_eq!(LayerName::parse(text), expected, "{text}");
        }
        assert_eq!(LayerName::parse_version("arn:aws:lambda:us-east-1:123456789012:layer:numpy"), None);
        let long = format!("arn:aws:lambda:us-east-1:123456789012:layer:{}:1", "a".repeat(100));
        assert_eq!(LayerName::parse_version(&long), None);
    }

    #[test]
    fn layers_of_functions() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:layer:l";
        let mut v = Violations::default();
        check(Some(&[format!("{arn}:1")]), &mut v);
        check(Some(&[]), &mut v);
        assert!(v.check().is_ok());
        let mut v = Violations::default();
        check(Some(&[format!("{arn}:1"), arn.to_owned()]), &mut v);
        let text = v.check().expect_err("no version").message;
        assert!(text.starts_with(&format!(
            "1 validation error detected: Value '[{arn}:1, {arn}]' at 'layers' failed to satisfy constraint: Member must \
             satisfy constraint: [Member must have length less than or equal to 140, "
        )), "{text}");
    }
}
