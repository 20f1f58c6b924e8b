//! A client of Lambda's API: enough HTTP for the subcommands, against any endpoint that takes unsigned requests.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Where the server is.
#[derive(Args, Clone)]
pub(super) struct Endpoint {
    /// Address of the server
    #[arg(
        long,
        visible_alias = "endpoint-url",
        env = "MAYFLY_ENDPOINT",
        default_value = "http://127.0.0.1:9000",
        value_name = "URL"
    )]
    pub(super) endpoint: String,
}

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an answer: the longest invocation there is, and its wait for a machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(960);
/// Largest answer.
const ANSWER_BYTES: usize = 64 << 20;

/// A connection to a server, made when it is needed.
pub(super) struct Client {
    url: String,
    authority: String,
    prefix: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Endpoint {
    /// A client of it.
    pub(super) fn client(&self) -> Result<Client, String> {
        let url = &self.endpoint;
        let uri: Uri = url.parse().map_err(|error| {
            format!("--endpoint '{url}' is not an address ({error}); give one like http://127.0.0.1:9000")
        })?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => Ok(Client {
                url: url.clone(),
                authority: if authority.port().is_some() { authority.to_string() } else { format!("{authority}:80") },
                prefix: uri.path().trim_end_matches('/').to_owned(),
                connection: None,
            }),
            (Some("https"), _) => Err(format!(
                "--endpoint {url} wants https, and signed requests; use `aws lambda` for it, this client is for Mayfly on http://"
            )),
            _ => Err(format!("--endpoint '{url}' is not complete; give one like http://127.0.0.1:9000")),
        }
    }
}

impl Client {
    /// Sends one request. A problem is one sentence, with its cure.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, concat!("mayfly/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(Full::new(body.into())).map_err(|error| format!("cannot ask for {path} ({error})"))?;

        let url = self.url.clone();
        let broke = |error: &dyn std::fmt::Display| {
            format!("the connection to {url} broke ({error}); see the server's log, and try again")
        };
        let connection = self.connect().await?;
        let exchange = async {
            let response = connection.send_request(request).await.map_err(|error| broke(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| broke(&error))?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| {
            Err(format!("no answer from {url} in {} s; see the server's log", ANSWER_TIMEOUT.as_secs()))
        })
    }

    /// Sends one request and reads its answer as JSON; any status but success is a problem.
    pub(super) async fn json(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let answer = self.send(method, path, &[("content-type", "application/json")], body).await?;
        if !answer.status.is_success() {
            return Err(answer.problem());
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            format!("{} answered something else than JSON ({error}); is it a Lambda endpoint?", self.url)
        })
    }

    async fn connect(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, String> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let cannot = |error: &dyn std::fmt::Display| {
                format!(
                    "cannot reach {} ({error}); start a server with `mayfly serve`, or give another with --endpoint",
                    self.url
                )
            };
            let socket = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority))
                .await
                .map_err(|_| cannot(&"no answer"))?
                .map_err(|error| cannot(&error))?;
            let _ = socket.set_nodelay(true);
            let (sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|error| cannot(&error))?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        let connection = self.connection.as_mut().ok_or("there is no connection")?;
        connection
            .ready()
            .await
            .map_err(|error| format!("the connection to {} broke ({error}); try again", self.url))?;
        Ok(connection)
    }
}

impl Answer {
    /// Lambda's error in it, as a sentence.
    pub(super) fn problem(&self) -> String {
        let kind = self.error_type();
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = body["message"].as_str().or(body["Message"].as_str());
        match message {
            Some(message) => format!("{kind}: {message}"),
            None => format!("the server answered {} and not as Lambda does; is --endpoint right?", self.status),
        }
    }

    /// Name of Lambda's error in it.
    pub(super) fn error_type(&self) -> &str {
        let name = self.header("x-amzn-errortype").unwrap_or("Error");
        name.split(':').next().unwrap_or(name)
    }

    /// A header, if it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Path of a function; its name can have anything in it.
pub(super) fn function_path(name: &str, rest: &str) -> String {
    format!("/2015-03-31/functions/{}{rest}", encoded(name))
}

/// A name as part of a path.
pub(super) fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let client = |url: &str| Endpoint { endpoint: url.into() }.client();
        assert_eq!(client("http://h/x/").map(|c| (c.authority, c.prefix)), Ok(("h:80".into(), "/x".into())));
        for (url, cure) in
            [("https://h", "aws lambda"), ("h:9000", "http://127.0.0.1:9000"), ("a b", "http://127.0.0.1:9000")]
        {
            let problem = client(url).err().expect(url);
            assert!(problem.contains(cure), "{problem}");
        }
    }

    #[test]
    fn names_in_paths() {
        assert_eq!(function_path("a:$L/ä", "/code"), "/2015-03-31/functions/a%3A%24L%2F%C3%A4/code");
    }
}
