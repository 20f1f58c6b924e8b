//! `AddLayerVersionPermission`, `GetLayerVersionPolicy` and `RemoveLayerVersionPermission`.
//!
//! Policies are kept and given back, like roles: who may use what is decided in front of Mayfly.

use http::StatusCode;
use mayfly_scheduler::{LayerStatement, LayerVersion, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{document::arn, name};
use crate::{
    lambda::{Error, constraint::Violations, empty, json, parse},
    stack::{Call, Reply},
};

const ACTION: &str = "lambda:GetLayerVersion";
const PRINCIPAL_PATTERN: &str = r"\d{12}|\*|arn:(aws[a-zA-Z-]*):iam::\d{12}:root";
const STATEMENT_PATTERN: &str = "([a-zA-Z0-9-_]+)";
/// Longest name of a statement.
const STATEMENT_CHARS: usize = 100;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    organization_id: Option<String>,
}

pub(in crate::lambda) fn get(call: &Call) -> Result<Reply, Error> {
    let id = name::version(call)?;
    let missing = |_| {
        let arn = format!("{}:{}", call.gateway.platform.layer_arn(&id.name), id.version);
        Refusal::LayerNotFound(format!("Layer version {arn} does not exist."))
    };
    let version = call.gateway.platform.layer(&id).map_err(missing)?;
    let policy = &version.policy;
    if policy.statements.is_empty() {
        return Err(Refusal::LayerNotFound("No policy is associated with the given resource.".into()).into());
    }
    let statements: Vec<_> =
        policy.statements.iter().map(|(name, statement)| document(call, &version, name, statement)).collect();
    let text = json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}).to_string();
    json(StatusCode::OK, &json!({"Policy": text, "RevisionId": policy.revision_id}))
}

pub(in crate::lambda) async fn add(call: &Call) -> Result<Reply, Error> {
    let id = name::version(call)?;
    let (statement_id, statement) = read(parse(call)?)?;
    let change =
        call.gateway.platform.change_layer_policy(id, statement_id.clone(), Some(statement.clone()), revision(call));
    let version = change.await?;
    let text = document(call, &version, &statement_id, &statement).to_string();
    json(StatusCode::CREATED, &json!({"Statement": text, "RevisionId": version.policy.revision_id}))
}

pub(in crate::lambda) async fn remove(call: &Call) -> Result<Reply, Error> {
    let (id, statement_id) = (name::version(call)?, call.argument(2).to_owned());
    call.gateway.platform.change_layer_policy(id, statement_id, None, revision(call)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn revision(call: &Call) -> Option<String> {
    call.query("RevisionId").filter(|text| !text.is_empty())
}

fn read(request: Request) -> Result<(String, LayerStatement), Error> {
    let mut violations = Violations::default();
    violations.required("statementId", request.statement_id.as_ref());
    violations.length("statementId", request.statement_id.as_deref(), STATEMENT_CHARS);
    let is_name =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    violations.pattern("statementId", request.statement_id.as_deref(), is_name, STATEMENT_PATTERN);
    violations.required("action", request.action.as_ref());
    violations.pattern("action", request.action.as_deref(), |text| text == ACTION, ACTION);
    violations.required("principal", request.principal.as_ref());
    violations.pattern("principal", request.principal.as_deref(), is_principal, PRINCIPAL_PATTERN);
    violations.check()?;
    let Request { statement_id, action, principal, organization_id } = request;
    let (action, principal) = (action.unwrap_or_default(), principal.unwrap_or_default());
    Ok((statement_id.unwrap_or_default(), LayerStatement { action, principal, organization_id }))
}

fn is_principal(text: &str) -> bool {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let root = || text.strip_prefix("arn:aws")?.split_once(":iam::")?.1.strip_suffix(":root");
    text == "*" || is_account(text) || root().is_some_and(is_account)
}

/// One statement in the form of IAM's policies.
fn document(call: &Call, version: &LayerVersion, name: &str, statement: &LayerStatement) -> Value {
    let principal = match statement.principal.as_str() {
        "*" => json!("*"),
        account if account.starts_with("arn:") => json!({"AWS": account}),
        account => json!({"AWS": format!("arn:aws:iam::{account}:root")}),
    };
    let mut document = json!({
        "Sid": name,
        "Effect": "Allow",
        "Principal": principal,
        "Action": statement.action,
        "Resource": format!("{}:{}", arn(call, version), version.id.version),
    });
    if let Some(organization) = &statement.organization_id {
        document["Condition"] = json!({"StringEquals": {"aws:PrincipalOrgID": organization}});
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals() {
        for good in ["*", "123456789012", "arn:aws:iam::123456789012:root", "arn:aws-cn:iam::123456789012:root"] {
            assert!(is_principal(good), "{good}");
        }
        for bad in ["", "me", "12345678901", "arn:aws:iam::123456789012:user/x", "arn:aws:iam::1:root"] {
            assert!(!is_principal(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = read(Request { action: Some("lambda:Invoke".into()), ..Request::default() }).expect_err("it is");
        for part in ["Value null at 'statementId'", "Value 'lambda:Invoke' at 'action'", "Value null at 'principal'"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }
}
