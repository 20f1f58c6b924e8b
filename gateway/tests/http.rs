//! The server against clients that are slow, broken or hostile. Needs no machines: the handler is a stand-in.

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use mayfly_gateway::{
    route::Endpoint,
    server::{Handler, Limits, serve},
    stack::{body, respond},
};
use support::wire::Wire;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Reads a body as the real stack does, and says how long it was; `/slow` takes half a second, `/big` answers a lot.
struct Echo {
    limits: Limits,
    memory: Arc<Semaphore>,
}

/// Largest body that [`Echo`] takes.
const BODY_BYTES_MAX: usize = 200_000;
/// Answer to `/big`: more than the socket buffers of both sides.
const BIG_BYTES: usize = 32 << 20;

impl Handler for Echo {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let endpoint = Endpoint::Lambda(mayfly_gateway::lambda::Operation::Invoke);
        let read = body::read(request.into_body(), &self.limits, &self.memory, BODY_BYTES_MAX).await;
        let outcome = read.map_err(|fault| endpoint.body_error(fault)).map(|(body, _memory)| body.len());
        if path == "/slow" {
            sleep(Duration::from_millis(500)).await;
        }
        let body = |length: usize| if path == "/big" { vec![b'x'; BIG_BYTES] } else { length.to_string().into_bytes() };
        respond::finish(outcome.map(|length| Response::new(Full::new(Bytes::from(body(length))))), "id")
    }
}

struct Server {
    address: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let memory = Arc::new(Semaphore::new(limits.body_memory_bytes / 1024));
        let echo = Arc::new(Echo { limits: limits.clone(), memory });
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(serve(listener, limits, echo, async { drop(stopped.await) }));
        Server { address, stop, running }
    }

    async fn connect(&self) -> Wire {
        Wire::connect(&self.address).await
    }
}

/// Short enough for tests.
fn limits() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(400),
        idle_timeout: Duration::from_millis(1500),
        body_grace: Duration::from_millis(500),
        write_stall: Duration::from_millis(500),
        drain_timeout: Duration::from_secs(2),
        shutdown: Duration::from_secs(2),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = Server::start(limits()).await;
    let mut wire = server.connect().await;
    for length in [0, 5, 100_000, BODY_BYTES_MAX] {
        let (status, body) = wire.post("/", &vec![b'x'; length]).await;
        assert_eq!((status, body), (200, length.to_string().into_bytes()));
    }
}

#[tokio::test]
async fn chunked_bodies_are_bodies() {
    let server = Server::start(limits()).await;
    let mut wire = server.connect().await;
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await;
    assert_eq!(wire.receive().await, Some((200, b"5".to_vec())));
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_hurts_no_one() {
    let server = Server::start(limits()).await;
    let mut good = server.connect().await;
    for bad in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut wire = server.connect().await;
        wire.send(bad).await;
        let answer = timeout(Duration::from_secs(3), wire.receive()).await.expect("an end");
        if let Some((status, _)) = answer {
            assert_eq!(status, 400, "{}", String::from_utf8_lossy(bad));
        }
        assert!(wire.is_closed().await, "{}", String::from_utf8_lossy(bad));
    }
    assert_eq!(good.post("/", b"x").await.0, 200);
}

#[tokio::test]
async fn headers_have_a_largest_size() {
    let server = Server::start(limits()).await;
    let mut wire = server.connect().await;
    wire.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(100_000)).as_bytes()).await;
    assert_eq!(wire.receive().await.map(|answer| answer.0), Some(431));
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let mut wire = server.connect().await;
    wire.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(wire.receive().await.map(|answer| answer.0), Some(431));
}

#[tokio::test]
async fn headers_that_do_not_end_are_cut_off() {
    let server = Server::start(limits()).await;
    let mut wire = server.connect().await;
    let begun = Instant::now();
    for byte in b"GET / HTTP/1.1\r\nHost: slow\r\nX-Pad: yyyyyyyyyyyyyyyyyyyy" {
        // A byte every 50 ms: never idle, never done.
        if !wire.try_send(&[*byte]).await {
            break;
        }
        sleep(Duration::from_millis(50)).await;
        if begun.elapsed() > Duration::from_millis(1200) {
            break;
        }
    }
    assert!(wire.is_closed().await);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_idle_connection_lives_longer_than_headers_may_take_but_not_for_ever() {
    let server = Server::start(limits()).await;
    let mut wire = server.connect().await;
    assert_eq!(wire.post("/", b"x").await.0, 200);
    sleep(Duration::from_millis(800)).await;
    assert_eq!(wire.post("/", b"x").await.0, 200, "it was idle for less than its limit");
    let begun = Instant::now();
    assert!(timeout(Duration::from_secs(4), wire.is_closed()).await.expect("an end"));
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_off() {
    let server = Server::start(limits()).await;
    let mut wire = server.connect().await;
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").await;
    // Faster than nothing, far slower than it must be; and a good start does not buy a long pause.
    wire.send(&[b'x'; 60_000]).await;
    let begun = Instant::now();
    let answer = loop {
        if !wire.try_send(b"x").await {
            break wire.receive().await;
        }
        if let Ok(answer) = timeout(Duration::from_millis(100), wire.receive()).await {
            break answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "still reading");
    };
    let (status, body) = answer.expect("an answer");
    assert_eq!((status, String::from_utf8_lossy(&body).contains("too slowly")), (408, true));
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_an_answer_that_can_be_read() {
    let server = Server::start(limits()).await;
    for chunked in [false, true] {
        let mut wire = server.connect().await;
        let body = vec![b'x'; 3_000_000];
        let (status, answer) = if chunked { wire.post_chunked("/", &body).await } else { wire.post("/", &body).await };
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(status, 413);
        assert!(
            answer["message"].as_str().expect("a message").starts_with("3000000 byte payload is too large"),
            "{answer}"
        );
        assert!(answer.get("Type").is_none());
    }
}

#[tokio::test]
async fn all_bodies_together_have_a_limit() {
    let server =
        Server::start(Limits { body_memory_bytes: 300 << 10, body_grace: Duration::from_secs(5), ..limits() }).await;
    // One client holds most of the memory by sending most of a body.
    let mut holder = server.connect().await;
    holder.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 150000\r\n\r\n").await;
    holder.send(&[b'x'; 149_000]).await;
    sleep(Duration::from_millis(300)).await;

    let (status, body) = server.connect().await.post("/", &[b'x'; 150_000]).await;
    assert_eq!(status, 429, "{}", String::from_utf8_lossy(&body));
    assert_eq!(server.connect().await.post("/", &[b'x'; 1000]).await.0, 200, "small ones are not counted");
    holder.send(&[b'x'; 1000]).await;
    assert_eq!(holder.receive().await, Some((200, b"150000".to_vec())));
    assert_eq!(server.connect().await.post("/", &[b'x'; 150_000]).await.0, 200, "it was given back");
}

#[tokio::test]
async fn announcing_takes_no_memory_from_others() {
    let server =
        Server::start(Limits { body_memory_bytes: 300 << 10, body_grace: Duration::from_secs(5), ..limits() }).await;
    let mut announcers = Vec::new();
    for _ in 0..20 {
        let mut wire = server.connect().await;
        wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 199999\r\n\r\nx").await;
        announcers.push(wire);
    }
    sleep(Duration::from_millis(200)).await;
    assert_eq!(server.connect().await.post("/", &[b'x'; 150_000]).await.0, 200);
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_those_that_work() {
    let server = Server::start(Limits { connections: 2, ..limits() }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    for wire in [&mut first, &mut second] {
        wire.send(b"GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    }
    sleep(Duration::from_millis(100)).await;
    let mut third = server.connect().await;
    third.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(timeout(Duration::from_millis(200), third.receive()).await.is_err(), "it was served above the limit");
    assert_eq!(first.receive().await.map(|answer| answer.0), Some(200));
    assert_eq!(second.receive().await.map(|answer| answer.0), Some(200));
    let answer = timeout(Duration::from_secs(2), third.receive()).await.expect("its turn");
    assert_eq!(answer.map(|answer| answer.0), Some(200));
}

#[tokio::test]
async fn silent_connections_make_room() {
    // None of these times out by itself in the time of this test.
    let hour = Duration::from_secs(3600);
    let server = Server::start(Limits { connections: 100, header_timeout: hour, idle_timeout: hour, ..limits() }).await;
    let mut busy = server.connect().await;
    let mut silent = Vec::new();
    for index in 0..99 {
        let mut wire = server.connect().await;
        // Half of them have begun a request, the others have not.
        if index % 2 == 0 {
            wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n").await;
        }
        silent.push(wire);
    }
    sleep(Duration::from_millis(700)).await;
    busy.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    sleep(Duration::from_millis(100)).await;
    for _ in 0..150 {
        let mut wire = server.connect().await;
        let answer = timeout(Duration::from_secs(20), wire.post("/", b"x")).await.expect("there is room");
        assert_eq!(answer.0, 200);
        silent.push(wire);
    }
    assert_eq!(busy.receive().await.map(|answer| answer.0), Some(200), "who is being answered stays");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let server = Server::start(Limits { connections: 1, ..limits() }).await;
    let mut deaf = server.connect().await;
    deaf.send(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await;
    sleep(Duration::from_millis(200)).await;
    // The only place is taken until the server gives up on the first client.
    let mut next = server.connect().await;
    let answer = timeout(Duration::from_secs(5), next.post("/", b"x")).await.expect("the place is free again");
    assert_eq!(answer.0, 200);
}

#[tokio::test]
async fn a_client_that_leaves_hurts_no_one() {
    let server = Server::start(limits()).await;
    for _ in 0..50 {
        let mut wire = server.connect().await;
        wire.send(b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf").await;
    }
    assert_eq!(server.connect().await.post("/", b"x").await.0, 200);
}

#[tokio::test]
async fn stopping_finishes_what_runs_and_takes_nothing_new() {
    let server = Server::start(limits()).await;
    let (mut busy, mut idle) = (server.connect().await, server.connect().await);
    assert_eq!(idle.post("/", b"x").await.0, 200);
    busy.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    server.stop.send(()).expect("it runs");

    assert_eq!(busy.receive().await, Some((200, b"0".to_vec())));
    assert!(busy.is_closed().await && idle.is_closed().await);
    server.running.await.expect("it ended well");
    assert!(begun.elapsed() < Duration::from_secs(1), "idle connections do not hold it up: {:?}", begun.elapsed());
    assert!(tokio::net::TcpStream::connect(&server.address).await.is_err());
}

#[tokio::test]
async fn stopping_has_an_end_even_if_clients_have_not() {
    let server =
        Server::start(Limits { shutdown: Duration::from_millis(300), body_grace: Duration::from_secs(30), ..limits() })
            .await;
    let mut wire = server.connect().await;
    wire.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf").await;
    sleep(Duration::from_millis(100)).await;
    server.stop.send(()).expect("it runs");
    timeout(Duration::from_secs(2), server.running).await.expect("an end").expect("it ended well");
    assert!(wire.is_closed().await);
}
