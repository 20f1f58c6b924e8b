//! AWS Lambda's API: one file per operation or family, and what they share.
//!
//! - `layer` has all operations on layers.
//! - [`name`] reads names and ARNs, [`constraint`] checks members, [`document`] writes function records.
//! - [`error`] is every way to be refused, with Lambda's names and spellings.
//!
//! Requests are signed by most clients. Signatures are accepted and not looked at: who may call is decided in front of
//! Mayfly.

mod account;
mod code_signing;
mod concurrency;
pub mod constraint;
mod create_function;
mod delete_function;
pub mod document;
pub mod error;
mod get_function;
mod invoke;
mod layer;
mod list_functions;
mod list_versions;
mod members;
pub mod name;
mod provisioned;
mod tags;
pub mod timing;
mod update_code;
mod update_configuration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use mayfly_scheduler::limits::PAYLOAD_BYTES;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Gateway,
    stack::{Call, Reply},
};
pub use error::{Error, Kind, Spelling};

/// An operation that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Lambda's, and so is their documentation")]
pub enum Operation {
    AddLayerVersionPermission,
    CreateFunction,
    DeleteFunction,
    DeleteFunctionConcurrency,
    DeleteLayerVersion,
    DeleteProvisionedConcurrencyConfig,
    GetAccountSettings,
    GetFunction,
    GetFunctionCodeSigningConfig,
    GetFunctionConcurrency,
    GetFunctionConfiguration,
    GetLayerVersion,
    GetLayerVersionPolicy,
    GetProvisionedConcurrencyConfig,
    Invoke,
    ListFunctions,
    ListLayerVersions,
    ListLayers,
    ListTags,
    ListVersionsByFunction,
    PublishLayerVersion,
    PutFunctionConcurrency,
    PutProvisionedConcurrencyConfig,
    RemoveLayerVersionPermission,
    TagResource,
    UntagResource,
    UpdateFunctionCode,
    UpdateFunctionConfiguration,
}

/// Carries out `operation`.
///
/// # Errors
/// See [`Error`].
pub async fn answer(operation: Operation, call: Call) -> Result<Reply, Error> {
    match operation {
        Operation::Invoke => invoke::answer(call).await,
        Operation::CreateFunction => create_function::answer(call).await,
        Operation::DeleteFunction => delete_function::answer(call).await,
        Operation::GetFunction => get_function::function(&call),
        Operation::GetFunctionConfiguration => get_function::configuration(&call),
        Operation::GetFunctionCodeSigningConfig => code_signing::answer(&call),
        Operation::ListFunctions => list_functions::answer(&call),
        Operation::ListVersionsByFunction => list_versions::answer(&call),
        Operation::UpdateFunctionCode => update_code::answer(call).await,
        Operation::UpdateFunctionConfiguration => update_configuration::answer(call).await,
        Operation::GetFunctionConcurrency => concurrency::get(&call),
        Operation::PutFunctionConcurrency => concurrency::put(&call).await,
        Operation::DeleteFunctionConcurrency => concurrency::delete(&call).await,
        Operation::PutProvisionedConcurrencyConfig => provisioned::put(&call).await,
        Operation::GetProvisionedConcurrencyConfig => provisioned::get_or_list(&call),
        Operation::DeleteProvisionedConcurrencyConfig => provisioned::delete(&call).await,
        Operation::ListTags => tags::list(&call),
        Operation::TagResource => tags::tag(&call).await,
        Operation::UntagResource => tags::untag(&call).await,
        Operation::PublishLayerVersion => layer::publish::answer(call).await,
        Operation::GetLayerVersion => layer::read::get(&call),
        Operation::ListLayers => layer::read::list_layers_or_get_by_arn(&call),
        Operation::ListLayerVersions => layer::read::list_versions(&call),
        Operation::DeleteLayerVersion => layer::delete::answer(&call).await,
        Operation::GetLayerVersionPolicy => layer::policy::get(&call),
        Operation::AddLayerVersionPermission => layer::policy::add(&call).await,
        Operation::RemoveLayerVersionPermission => layer::policy::remove(&call).await,
        Operation::GetAccountSettings => account::settings(&call),
    }
}

/// Largest request of CreateFunction and PublishLayerVersion: a package of 50 MiB in base64, and 256 KiB for the rest.
const CREATE_FUNCTION_BYTES: usize = 70_167_211;
/// Largest request of UpdateFunctionCode.
const UPDATE_FUNCTION_CODE_BYTES: usize = 69_905_067;
/// Largest request of what has no package or event in it.
const SMALL_REQUEST_BYTES: usize = 256 << 10;

impl Operation {
    /// Refuses, for load, what need not be read any further.
    ///
    /// # Errors
    /// Overload.
    pub fn check_load(self, gateway: &Gateway, head: &Parts, arguments: &[String]) -> Result<(), Error> {
        match self {
            Operation::Invoke => invoke::check_load(gateway, head, arguments),
            _ => Ok(()),
        }
    }

    /// Largest body of a request.
    #[must_use]
    pub fn body_bytes_max(self) -> usize {
        match self {
            Operation::Invoke => PAYLOAD_BYTES,
            Operation::CreateFunction | Operation::PublishLayerVersion => CREATE_FUNCTION_BYTES,
            Operation::UpdateFunctionCode => UPDATE_FUNCTION_CODE_BYTES,
            _ => SMALL_REQUEST_BYTES,
        }
    }

    /// What is said of a body of `bytes` that is larger.
    #[must_use]
    pub fn too_large(self, bytes: u64) -> String {
        let limit = self.body_bytes_max();
        match self {
            Operation::Invoke => format!(
                "{bytes} byte payload is too large for the RequestResponse invocation type (limit {limit} bytes)"
            ),
            _ => format!("Request must be smaller than {limit} bytes for the {self:?} operation"),
        }
    }
}

/// A response with a JSON body.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Reply, Error> {
    let text = serde_json::to_vec(body).map_err(|error| Error::internal(error.to_string()))?;
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}

/// A response without a body.
fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// Reads a request's body. One that is not there counts as one without members.
fn parse<T: DeserializeOwned>(call: &Call) -> Result<T, Error> {
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    serde_json::from_slice(body).map_err(body_error)
}

/// What is said of a body that is not JSON, or has something else in it than it should.
fn body_error(error: serde_json::Error) -> Error {
    let kind = if error.is_data() { Kind::Serialization } else { Kind::InvalidRequestContent };
    Error::new(kind, format!("Could not parse request body into json: {error}"))
}
