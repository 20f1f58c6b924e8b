//! `DeleteFunction`.

use http::StatusCode;

use super::{
    Error, empty,
    name::{LATEST, Target},
};
use crate::stack::{Call, Reply};

pub(super) async fn answer(call: Call) -> Result<Reply, Error> {
    let target = Target::of(&call)?;
    match target.qualifier.as_deref() {
        None => {}
        Some(LATEST) => {
            return Err(Error::parameter("$LATEST version cannot be deleted without deleting the function."));
        }
        // There are no versions yet, so to delete one is to find none. Lambda answers 204, if there is the function.
        Some(_) => {
            call.gateway.platform.function(&target.name)?;
            return Ok(empty(StatusCode::NO_CONTENT));
        }
    }
    call.gateway.platform.delete_function(&target.name).await?;
    call.gateway.metrics.forget(&target.name);
    Ok(empty(StatusCode::NO_CONTENT))
}
