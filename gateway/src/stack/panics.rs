//! A bug in one operation ends one request, with an answer.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use crate::lambda::Error;

/// Runs `future`; a panic in it becomes an error. What the request owned is dropped; what it shares with others is
/// behind locks of the platform, which does not keep them across its own panics.
pub async fn caught<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Err(Error::internal(format!("panic: {}", text(&*panic))))),
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::Kind;

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let outcome = caught::<()>(async { panic!("table {}", "flipped") }).await;
        let error = outcome.expect_err("it panicked");
        assert_eq!(error.kind, Kind::Service);
        assert_eq!(error.detail.as_deref(), Some("panic: table flipped"));
    }

    #[tokio::test]
    async fn an_answer_passes() {
        assert_eq!(caught(async { Ok(7) }).await.expect("no panic"), 7);
    }
}
