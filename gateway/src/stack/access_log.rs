//! One line per request, whatever became of it.

use std::time::Instant;

use http::StatusCode;
use hyper::{Request, body::Incoming};

/// Longest path in a line: paths are the client's.
const PATH_CHARS: usize = 200;

/// A request that has no answer yet. If it is dropped like that, its client went away.
pub struct Entry<'a> {
    request_id: &'a str,
    /// `None` where nobody would see the line: then a request costs no copy of its path.
    line: Option<(String, Instant)>,
    ended: bool,
}

impl<'a> Entry<'a> {
    /// Remembers what is asked for.
    #[must_use]
    pub fn begin(request: &Request<Incoming>, request_id: &'a str) -> Entry<'a> {
        let line = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            let path: String = request.uri().path().chars().take(PATH_CHARS).collect();
            (format!("{} {path}", request.method()), Instant::now())
        });
        Entry { request_id, line, ended: false }
    }

    /// Writes the line.
    pub fn end(mut self, status: StatusCode) {
        self.ended = true;
        if let Some((line, begun)) = &self.line {
            let ms = begun.elapsed().as_secs_f64() * 1000.0;
            tracing::debug!(request_id = self.request_id, status = status.as_u16(), ms, "{line}");
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if let (false, Some((line, _))) = (self.ended, &self.line) {
            tracing::debug!(request_id = self.request_id, "{line}: the client went away");
        }
    }
}
