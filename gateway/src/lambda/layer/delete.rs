//! `DeleteLayerVersion`.

use http::StatusCode;

use super::name;
use crate::{
    lambda::{Error, empty},
    stack::{Call, Reply},
};

/// 204 whether or not there was one, as Lambda.
pub(in crate::lambda) async fn answer(call: &Call) -> Result<Reply, Error> {
    call.gateway.platform.delete_layer(name::version(call)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
