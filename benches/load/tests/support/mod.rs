//! A server that does to requests what the name of their function says, and counts them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use mayfly_load::{Endpoint, Pace, Plan, Profile, Report, Setting, Spacing, Target, outcome::Outcome};
use tokio::net::TcpListener;

/// How long the one worker of `queued` takes.
pub const SERVICE: Duration = Duration::from_millis(20);
const REFUSAL: &str =
    r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#;

pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
    // Its threads end with it.
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct State {
    /// Requests by function.
    seen: Mutex<BTreeMap<String, u64>>,
    /// Requests whose client went before they were answered.
    gone: Mutex<u64>,
    /// Bodies that were not the event.
    wrong: Mutex<Vec<Bytes>>,
    worker: tokio::sync::Mutex<()>,
}

impl Server {
    pub fn start() -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("an address");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(Arc::clone(&state), request));
                    // How connections end is the client's to say.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Server { address, state, _runtime: runtime }
    }

    pub fn seen(&self, function: &str) -> u64 {
        self.state.seen.lock().expect("not poisoned").get(function).copied().unwrap_or(0)
    }

    pub fn gone(&self) -> u64 {
        *self.state.gone.lock().expect("not poisoned")
    }

    pub fn wrong(&self) -> Vec<Bytes> {
        self.state.wrong.lock().expect("not poisoned").clone()
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&format!("http://{}", self.address)).expect("an endpoint")
    }

    /// Even arrivals at a rate.
    pub fn plan(&self, functions: &[&str], rate: f64, duration: Duration) -> Plan {
        Plan {
            endpoint: self.endpoint(),
            credentials: None,
            targets: functions.iter().map(|name| Target::new(name)).collect(),
            pace: Pace::Open { profile: Profile::constant(rate, duration), spacing: Spacing::Even },
            seed: 7,
            setting: Setting { keeps_requests: true, ..Setting::default() },
        }
    }
}

/// Runs a plan to its end.
pub fn run(plan: Plan) -> Report {
    mayfly_load::run(plan, &Arc::new(AtomicBool::new(false)), |_| {}).expect("a report")
}

/// Outcomes of one function, by name.
pub fn outcomes(report: &Report, function: &str) -> Vec<(Outcome, u64)> {
    let row = report.functions.iter().find(|row| row.function == function).expect("the function");
    row.counts.some().collect()
}

/// Counts itself as gone unless it was answered.
struct Gone(Arc<State>, AtomicBool);

impl Drop for Gone {
    fn drop(&mut self) {
        if !self.1.load(Ordering::Relaxed) {
            *self.0.gone.lock().expect("not poisoned") += 1;
        }
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
    let function = request.uri().path().split('/').nth(3).unwrap_or_default().to_owned();
    *state.seen.lock().expect("not poisoned").entry(function.clone()).or_insert(0) += 1;
    let gone = Gone(Arc::clone(&state), AtomicBool::new(false));
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    if body != "{}" {
        state.wrong.lock().expect("not poisoned").push(body);
    }
    let response = Response::builder();
    let response = match function.as_str() {
        "ok" => response.body("{}"),
        "large" => {
            gone.1.store(true, Ordering::Relaxed);
            return Ok(Response::new(Full::new(Bytes::from(vec![b'x'; 300_000]))));
        }
        "queued" => {
            let _worker = state.worker.lock().await;
            tokio::time::sleep(SERVICE).await;
            response.body("{}")
        }
        "hangs" => std::future::pending::<Result<_, Infallible>>().await.map_or_else(|never| match never {}, Ok),
        "closes" => return Err(io::ErrorKind::ConnectionAborted.into()),
        "last" => response.header("connection", "close").body("{}"),
        "fails" => response.header("x-amz-function-error", "Unhandled").body(r#"{"errorMessage":"no"}"#),
        "refuses" => response.status(429).header("x-amzn-errortype", "TooManyRequestsException").body(REFUSAL),
        "malformed" => response.status(429).body("slow down"),
        "broken" => response.status(500).body("{}"),
        _ => response.status(404).body(r#"{"Message":"Function not found"}"#),
    };
    gone.1.store(true, Ordering::Relaxed);
    response.map(|response| response.map(Full::from)).map_err(io::Error::other)
}
