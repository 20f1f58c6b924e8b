//! Connections that keep a server busy without asking it for anything, as slowhttptest's -H and -B, and idle ones: 5,000 of them, a third
//! each, beside half of the capacity.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mayfly_benches::report::{Aim, Report};
use mayfly_load::{Target, outcome::Outcome as Fate};

use super::{COUNT, Outcome, Stage, p99_ms, percent};

const CONNECTIONS: usize = 5000;
/// The normal load, as a part of the capacity.
const LOAD: f64 = 0.5;
const ANSWERED: f64 = 99.9;
/// Each says one more byte so often.
const TRICKLE: Duration = Duration::from_secs(1);

/// What a kind of connection begins with, and goes on with.
const KINDS: [(&str, &str); 3] = [
    ("", ""),
    ("POST /2015-03-31/functions/count/invocations HTTP/1.1\r\nHost: h\r\nX-Slow: ", "a"),
    ("POST /2015-03-31/functions/count/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", " "),
];

pub(super) fn measure(stage: &Stage<'_>, report: &mut Report) -> Outcome<()> {
    report.section("5,000 connections that are slow or idle");
    let platform = stage.start(&[], &[("count", COUNT)])?;
    let targets = [Target::new("count")];
    let rate = stage.capacity(&platform, &targets)? * LOAD;
    let alone = stage.constant(&platform, &targets, rate, stage.seconds(30.0), 1)?;
    let slow = Slow::open(platform.address(), CONNECTIONS)?;
    let load = stage.constant(&platform, &targets, rate, stage.seconds(30.0), 1)?;
    drop(slow);
    let notes = format!("{:.1} ms without them", p99_ms(alone.latency));
    report.amount("p99 of normal load", p99_ms(load.latency), "ms", &notes);
    let answered = percent(load.totals.counts.of(Fate::Ok), load.totals.arrivals);
    report.aim("normal load that is answered", Aim::AtLeast(ANSWERED), answered, "%");
    Ok(())
}

/// The connections. Closed when dropped.
struct Slow {
    stop: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Slow {
    /// Opens so many. One that the server closes is opened again.
    fn open(address: SocketAddr, count: usize) -> io::Result<Slow> {
        let open = move |index: usize| -> io::Result<TcpStream> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nonblocking(true)?;
            stream.write_all(KINDS[index % KINDS.len()].0.as_bytes())?;
            Ok(stream)
        };
        let mut streams = (0..count).map(open).collect::<io::Result<Vec<_>>>()?;
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let keeper = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                thread::sleep(TRICKLE);
                for (index, stream) in streams.iter_mut().enumerate() {
                    let is_closed =
                        matches!(stream.peek(&mut [0]), Ok(0)) || stream.take_error().is_ok_and(|e| e.is_some());
                    if (is_closed || stream.write(KINDS[index % KINDS.len()].1.as_bytes()).is_err())
                        && let Ok(again) = open(index)
                    {
                        *stream = again;
                    }
                }
            }
        });
        Ok(Slow { stop, keeper: Some(keeper) })
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
