//! A real platform behind a real server, in this process, with AWS's own client for it.
//!
//! Its machines are real: without KVM these tests fail, and say what is missing.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_sdk_lambda::{
    Client,
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::ProvideErrorMetadata,
    operation::invoke::InvokeOutput,
    primitives::Blob,
    types::{FunctionCode, Runtime},
};
use mayfly_gateway::{Gateway, awake::Awake, server, server::Limits};
use mayfly_scheduler::{Platform, Settings};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

pub const ROLE: &str = "arn:aws:iam::000000000000:role/test";
pub const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:";

/// A server that is stopped with [`Live::stop`].
pub struct Live {
    pub client: Client,
    pub address: String,
    gateway: Arc<Gateway>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    data: TempDir,
}

impl Live {
    pub async fn start() -> Live {
        Live::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Live {
        Live::within(Limits::default(), change).await
    }

    /// With other bounds of what clients may do.
    pub async fn within(limits: Limits, change: impl FnOnce(&mut Settings)) -> Live {
        let data = tempfile::tempdir().expect("a directory");
        let mut settings = Settings {
            data_dir: data.path().to_owned(),
            // The test is not the program that knows how to be the zygote.
            program: PathBuf::from(env!("CARGO_BIN_EXE_mayfly")),
            shells: 2,
            // Most tests are not about it, and each would pack one.
            python: None,
            ..Settings::default()
        };
        change(&mut settings);
        let platform = Platform::open(settings).await.unwrap_or_else(|error| panic!("these tests need KVM: {error}"));
        let gateway = Gateway::new(platform, limits.clone(), Awake::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let serving = tokio::spawn(server::serve(listener, limits, Arc::clone(&gateway), stopped));
        Live { client: client(&format!("http://{address}")), address, gateway, stop, serving, data }
    }

    /// Stops it, and makes sure that it stops.
    pub async fn stop(self) {
        // Until it has its runtime, it writes to the directory that is removed below.
        for _ in 0..1000 {
            if self.gateway.platform.status().ready {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The client keeps connections; they are idle and end at once.
        let _ = self.stop.send(());
        tokio::time::timeout(Duration::from_secs(20), self.serving)
            .await
            .expect("the server ends")
            .expect("it ended well");
        self.gateway.platform.shutdown(Duration::from_secs(20)).await;
        self.data.close().expect("the directory can be removed");
    }

    /// Creates a function from code, and waits for it.
    pub async fn create(&self, name: &str, code: &str) {
        self.create_with(name, code, &[]).await;
    }

    pub async fn create_with(&self, name: &str, code: &str, tags: &[(&str, &str)]) {
        let mut request = self
            .client
            .create_function()
            .function_name(name)
            .role(ROLE)
            .runtime(Runtime::from("rustpython"))
            .handler("handler.handler")
            .code(zip_code(&package(&[("handler.py", code)])));
        for (key, value) in tags {
            request = request.tags(*key, *value);
        }
        request.send().await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        self.wait_active(name).await;
    }

    /// Creates one of the example functions under its own name, and waits for it.
    pub async fn create_example(&self, name: &str, tags: &[(&str, &str)]) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions").join(name);
        let code = std::fs::read_to_string(folder.join("handler.py")).expect("an example");
        self.create_with(name, &code, tags).await;
    }

    pub async fn wait_active(&self, name: &str) {
        use aws_sdk_lambda::client::Waiters;
        let waited =
            self.client.wait_until_function_active_v2().function_name(name).wait(Duration::from_secs(60)).await;
        waited.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    pub async fn wait_updated(&self, name: &str) {
        use aws_sdk_lambda::client::Waiters;
        let waited =
            self.client.wait_until_function_updated_v2().function_name(name).wait(Duration::from_secs(60)).await;
        waited.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    /// How many invocations of a function have begun, by its log.
    pub async fn starts_of(&self, name: &str) -> usize {
        let lines = self.gateway.platform.logs(name, 0, usize::MAX).expect("it is there");
        lines.iter().filter(|line| line.text.starts_with("START ")).count()
    }

    pub async fn invoke(&self, name: &str, event: &Value) -> Answer {
        let sent = self.client.invoke().function_name(name).payload(Blob::new(event.to_string())).send().await;
        Answer::of(sent.unwrap_or_else(|error| panic!("{name} {event}: {error:?}")))
    }
}

/// Payload and error of an invocation.
#[derive(Debug)]
pub struct Answer {
    pub payload: Value,
    pub error: Option<String>,
}

impl Answer {
    pub fn of(output: InvokeOutput) -> Answer {
        let payload = output.payload().map(AsRef::as_ref).unwrap_or_default();
        let payload =
            serde_json::from_slice(payload).unwrap_or_else(|error| panic!("{payload:?} is not JSON: {error}"));
        Answer { payload, error: output.function_error().map(str::to_owned) }
    }

    /// The payload of an invocation that went well.
    pub fn good(self) -> Value {
        assert_eq!(self.error, None, "{}", self.payload);
        self.payload
    }

    /// `errorType` and `errorMessage` of one that did not.
    pub fn failed(self) -> (String, String) {
        assert_eq!(self.error.as_deref(), Some("Unhandled"), "{}", self.payload);
        let text = |key: &str| self.payload[key].as_str().unwrap_or_else(|| panic!("{}", self.payload)).to_owned();
        (text("errorType"), text("errorMessage"))
    }
}

/// Code and message of an error of AWS's client.
pub fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(sent: Result<T, E>) -> (String, String) {
    let error = sent.expect_err("a refusal");
    (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned())
}

/// AWS's client for that endpoint, without retries: tests want to see every answer.
pub fn client(endpoint: &str) -> Client {
    let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_secs(120)).build();
    let config = aws_sdk_lambda::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// A zip of these files.
pub fn package(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("packed");
        zip.write_all(content.as_bytes()).expect("packed");
    }
    zip.finish().expect("packed").into_inner()
}

pub fn zip_code(package: &[u8]) -> FunctionCode {
    FunctionCode::builder().zip_file(Blob::new(package)).build()
}

/// Status, `x-amzn-ErrorType` and body of a request that AWS's client would not send.
pub async fn raw(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Raw {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("connected");
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    socket.write_all((head + "\r\n").as_bytes()).await.expect("sent");
    socket.write_all(body).await.expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("received");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Raw { status, headers, body: answer[end..].to_vec() }
}

/// See [`raw`].
pub struct Raw {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Raw {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }
}
