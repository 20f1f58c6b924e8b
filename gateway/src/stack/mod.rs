//! What happens to every request, top to bottom:
//!
//! ```text
//! answer        names it (request id), logs it, and turns whatever went wrong into a response, at its pace
//!  └ caught     a bug in one operation ends one request
//!     └ find    what is asked for; unknown things, and what there is no time for, are refused before a byte of the body is read
//!        └ body a bounded body at a bounded pace out of a bounded memory
//!           └ dispatch: one file per operation in `lambda` and `own`
//! ```

pub mod access_log;
pub mod body;
pub mod pace;
pub mod panics;
pub mod respond;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{header, request::Parts};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
};

use crate::{
    Gateway,
    lambda::{self, Error},
    own,
    route::{self, Endpoint},
    server,
};

/// Bodies of refused requests up to this size are read, and thrown away.
const DISCARDED_BYTES_MAX: u64 = 64 << 10;

/// What an operation answers.
pub type Reply = Response<Full<Bytes>>;

/// One request on its way to its operation.
pub struct Call {
    /// What can be reached.
    pub gateway: Arc<Gateway>,
    /// `x-amzn-RequestId`, and `context.aws_request_id` of an invocation.
    pub request_id: String,
    /// Method, address, headers.
    pub head: Parts,
    /// What stands in the path for each `{}`, decoded.
    pub arguments: Vec<String>,
    /// The whole body.
    pub body: Bytes,
    /// When the head had been read.
    pub began: Instant,
}

impl server::Handler for Gateway {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let request_id = uuid::Uuid::new_v4().to_string();
        let log = access_log::Entry::begin(&request, &request_id);
        let outcome = panics::caught(serve(Arc::clone(&self), request, &request_id)).await;
        if let Err(error) = &outcome {
            self.paces.wait(error).await;
        }
        let response = respond::finish(outcome, &request_id);
        log.end(response.status());
        response
    }
}

async fn serve(gateway: Arc<Gateway>, request: Request<Incoming>, request_id: &str) -> Result<Reply, Error> {
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let (endpoint, arguments) = route::find(&head.method, head.uri.path())?;
    if let Err(overload) = endpoint.check_load(&gateway, &head, &arguments) {
        return Err(refuse(overload, body, &gateway).await);
    }
    // On the heap: what is refused does not pay for the room that the largest operation needs.
    let call = Call { gateway, request_id: request_id.to_owned(), head, arguments, body: Bytes::new(), began };
    Box::pin(carry_out(endpoint, call, body)).await
}

/// What a request is told that there is no time for: when it is told, its body is out of the way.
async fn refuse(overload: Error, body: Incoming, gateway: &Gateway) -> Error {
    if body.is_end_stream() {
        return overload;
    }
    // A small body is here already, or soon; to leave it would cost the caller his connection.
    let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= DISCARDED_BYTES_MAX);
    if is_small && body::discard(body, &gateway.limits).await.is_ok() { overload } else { overload.closing() }
}

async fn carry_out(endpoint: Endpoint, call: Call, body: Incoming) -> Result<Reply, Error> {
    let gateway = Arc::clone(&call.gateway);
    // What was taken of the memory for bodies is given back when the answer is there.
    let (body, _memory) = body::read(body, &gateway.limits, &gateway.body_memory, endpoint.body_bytes_max())
        .await
        .map_err(|fault| endpoint.body_error(fault))?;
    let call = Call { body, ..call };
    match endpoint {
        Endpoint::Lambda(operation) => lambda::answer(operation, call).await,
        Endpoint::Own(page) => own::answer(page, call).await,
    }
}

impl Call {
    /// What stands in the path for the `{}` of that number, from 0; empty if the path has fewer.
    #[must_use]
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// Where a package can be downloaded: on this gateway, under the name by which the client reached it. Whoever knows the
    /// package's digest may have it, as with Lambda's own signed address.
    #[must_use]
    pub fn package_location(&self, sha256_hex: &str) -> String {
        let host = self.header(header::HOST.as_str()).unwrap_or("localhost");
        let scheme = if self.header("x-forwarded-proto") == Some("https") { "https" } else { "http" };
        format!("{scheme}://{host}/mayfly/v1/packages/{sha256_hex}")
    }

    /// The value of a header, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The first value of a query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        self.query_all(name).next()
    }

    /// All values of a query parameter, decoded.
    pub fn query_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        let pairs = self.head.uri.query().unwrap_or_default().split('&');
        pairs.filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (route::decode(key, true).as_deref() == Some(name)).then(|| route::decode(value, true)).flatten()
        })
    }
}
