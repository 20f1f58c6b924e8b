//! Clients who ask for what cannot be done, as fast as they can.

mod support;

use std::time::Duration;

use mayfly_gateway::server::Limits;
use support::{
    live::{Live, raw},
    wire::Wire,
};

/// An unknown operation, an unknown function, no JSON, no name, a wrong member.
const BAD: [(&str, &str, &str); 5] = [
    ("DELETE", "/2015-03-31/nothing", ""),
    ("POST", "/2015-03-31/functions/nobody/invocations", "{}"),
    ("POST", "/2015-03-31/functions/nobody/invocations", "{not json"),
    ("POST", "/2015-03-31/functions/%00/invocations", "[]"),
    ("GET", "/2015-03-31/functions?MaxItems=none", ""),
];
/// Of each of them, for each processor: in all, more than the pace lets through while this test asks for something else.
const CLIENTS_PER_PROCESSOR: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_at_their_pace_and_hold_nobody_up() {
    // One a second on each processor: telling all of them takes longer than this test may.
    let limits = Limits { mistakes_per_second: 1, refusal_delay: Duration::from_secs(3600), ..Limits::default() };
    let live = Live::within(limits, |_| {}).await;
    // The first one does not wait for anything.
    assert_eq!(raw(&live.address, "DELETE", "/2015-03-31/nothing", &[], b"").await.status, 404);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let clients = CLIENTS_PER_PROCESSOR * processors;
    let began = std::time::Instant::now();
    let mut flood = Vec::new();
    for (method, path, body) in BAD {
        for _ in 0..clients {
            let mut wire = Wire::connect(&live.address).await;
            let length = body.len();
            let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}");
            wire.send(request.as_bytes()).await;
            flood.push(wire);
        }
    }
    for _ in 0..50 {
        assert_eq!(raw(&live.address, "GET", "/healthz", &[], b"").await.status, 200);
    }
    let mut told = 0;
    for wire in &mut flood {
        tokio::select! {
            biased;
            answer = wire.receive() => {
                let (status, _) = answer.expect("an answer");
                assert!((400..500).contains(&status), "{status}");
                told += 1;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    let (all, paced) = (BAD.len() * clients, (began.elapsed().as_secs() as usize + 2) * processors);
    assert!(told <= paced.min(all - 1), "{told} of {all} were told before those who asked for something");
    drop(flood);
    live.stop().await;
}
