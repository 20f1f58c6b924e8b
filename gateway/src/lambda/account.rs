//! `GetAccountSettings`.

use http::StatusCode;
use mayfly_scheduler::limits;
use serde_json::json;

use super::{Error, json};
use crate::stack::{Call, Reply};

/// Code that an account may keep.
const TOTAL_CODE_BYTES: u64 = 80_530_636_800;

pub(super) fn settings(call: &Call) -> Result<Reply, Error> {
    let platform = &call.gateway.platform;
    let concurrency = platform.settings().account_concurrency;
    let (mut functions, mut code_bytes, mut reserved) = (0_u64, platform.layer_bytes(), 0_u32);
    let mut after: Option<String> = None;
    // Ends after as many pages as there can be functions: the catalog is bounded.
    for _ in 0..=limits::FUNCTIONS / limits::LIST_PAGE {
        let (page, more) = platform.functions(after.as_deref(), limits::LIST_PAGE);
        functions += page.len() as u64;
        code_bytes += page.iter().map(|function| function.code.bytes).sum::<u64>();
        reserved += page.iter().filter_map(|function| function.reserved_concurrency).sum::<u32>();
        if more.is_none() {
            break;
        }
        after = more;
    }
    json(
        StatusCode::OK,
        &json!({
            "AccountLimit": {
                "TotalCodeSize": TOTAL_CODE_BYTES,
                "CodeSizeUnzipped": limits::PACKAGE_UNZIPPED_BYTES,
                "CodeSizeZipped": limits::PACKAGE_ZIPPED_BYTES,
                "ConcurrentExecutions": concurrency,
                "UnreservedConcurrentExecutions": concurrency.saturating_sub(reserved),
            },
            "AccountUsage": {"TotalCodeSize": code_bytes, "FunctionCount": functions},
        }),
    )
}
