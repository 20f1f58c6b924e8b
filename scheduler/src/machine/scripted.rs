//! Machines without a guest: they do what the request says, on tokio's clock, so that order and time can be tested.
//!
//! An event's payload is the script: `{"ms":5}` answers after 5 ms, with `"stop"` for another end than an answer.

use std::{
    collections::HashSet,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mayfly_abi::record;
use serde_json::Value;
use tokio::time::{Sleep, sleep};

use super::*;
use crate::deploy::REHEARSED;

/// Makes scripted machines and counts what happens to them.
#[derive(Debug, Default)]
pub(crate) struct ScriptedHost {
    pub(crate) counts: Arc<Counts>,
    /// Milliseconds that a bind and a reset take.
    pub(crate) bind_ms: u64,
    pub(crate) reset_ms: u64,
    /// Whether binds fail.
    pub(crate) binds_fail: bool,
    /// Answer to INIT: kind and payload.
    pub(crate) init: Option<(u32, Vec<u8>)>,
    /// Least size of what is saved.
    pub(crate) snapshot_bytes: u64,
}

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) spawned: AtomicUsize,
    pub(crate) alive: AtomicUsize,
    pub(crate) binds: AtomicUsize,
    pub(crate) runs: AtomicUsize,
    pub(crate) resets: AtomicUsize,
    pub(crate) inits: AtomicUsize,
    pub(crate) trims: AtomicUsize,
    ended: Mutex<HashSet<u32>>,
}

impl Counts {
    pub(crate) fn get(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }

    pub(crate) fn is_alive(&self, pid: u32) -> bool {
        !self.ended.lock().expect("not poisoned").contains(&pid)
    }
}

/// What will be reported, and when.
type Pending = (Pin<Box<Sleep>>, Result<Report, Gone>);

struct ScriptedMachine {
    /// No process of the host's.
    pid: u32,
    counts: Arc<Counts>,
    bind_ms: u64,
    reset_ms: u64,
    binds_fail: bool,
    init: Option<(u32, Vec<u8>)>,
    snapshot_bytes: u64,
    bound: Option<PathBuf>,
    rehearses: bool,
    pending: Option<Pending>,
}

impl Host for ScriptedHost {
    fn spawn(&self) -> Result<Box<dyn Machine>, String> {
        let pid = self.counts.spawned.fetch_add(1, Ordering::SeqCst) as u32 + 1;
        self.counts.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(ScriptedMachine {
            pid,
            counts: self.counts.clone(),
            bind_ms: self.bind_ms,
            reset_ms: self.reset_ms,
            binds_fail: self.binds_fail,
            init: self.init.clone(),
            snapshot_bytes: self.snapshot_bytes,
            bound: None,
            rehearses: false,
            pending: Some((Box::pin(sleep(Duration::ZERO)), Ok(Report::Ready))),
        }))
    }

    fn open_snapshot(&self, path: &Path) -> Result<Snapshot, String> {
        if path.exists() { Ok(Snapshot::Scripted(path.into())) } else { Err("no such snapshot".into()) }
    }

    fn open_image(&self, path: &Path) -> Result<Image, String> {
        if path.exists() { Ok(Image::Scripted) } else { Err("no such image".into()) }
    }

    fn build(&self) -> String {
        "scripted".into()
    }

    fn share(&self, _: &str, _: u64) -> Share {
        Share::default()
    }

    fn end(&self) {}
}

impl Machine for ScriptedMachine {
    fn start(&mut self, command: Command<'_>) -> Result<(), Gone> {
        if let Some((_, Ok(Report::Ready))) = &self.pending {
            self.pending = None;
        }
        assert!(self.pending.is_none(), "one thing at a time");
        let (ms, report) = match command {
            Command::Boot { .. } => (0, Ok(Report::Bound)),
            Command::Bind(_) if self.binds_fail => (self.bind_ms, Ok(Report::Failed("it is scripted so".into()))),
            Command::Bind(binding) => {
                let Snapshot::Scripted(path) = &**binding.top.as_ref().unwrap_or(&binding.base) else {
                    return Err(Gone::Failed("not a scripted snapshot".into()));
                };
                let below = self.bound.replace(path.clone());
                let is_base = |below: &PathBuf| matches!(&*binding.base, Snapshot::Scripted(base) if base == below);
                assert!(below.is_none_or(|below| is_base(&below)), "a shell is bound to one function");
                self.counts.binds.fetch_add(1, Ordering::SeqCst);
                (self.bind_ms, Ok(Report::Bound))
            }
            Command::Run { event: None, .. } => (0, Ok(next(None))),
            // What the platform does for itself is not counted.
            Command::Run { event: Some(event), .. } if is_rehearsed(&event) => {
                self.rehearses = true;
                (0, Ok(next(Some(AnswerRecord { kind: record::INIT_OK, payload: Vec::new() }))))
            }
            Command::Run { event: Some(_), .. } if self.rehearses => {
                (0, Ok(next(Some(AnswerRecord { kind: record::RESPONSE, payload: Vec::new() }))))
            }
            Command::Reset if std::mem::take(&mut self.rehearses) => (0, Ok(Report::ResetDone)),
            Command::Run { event: Some(event), .. } if event.kind == record::INIT => {
                self.counts.inits.fetch_add(1, Ordering::SeqCst);
                let (kind, payload) = self.init.clone().unwrap_or((record::INIT_OK, Vec::new()));
                (0, Ok(next(Some(AnswerRecord { kind, payload }))))
            }
            Command::Run { event: Some(event), timeout, .. } => {
                self.counts.runs.fetch_add(1, Ordering::SeqCst);
                run(event.payload, timeout)
            }
            Command::Save { to } => {
                std::io::Write::write_all(&mut &*to, b"scripted")
                    .and_then(|()| to.set_len(self.snapshot_bytes.max(8)))
                    .map_err(|error| Gone::Failed(error.to_string()))?;
                (0, Ok(Report::Saved))
            }
            Command::Reset => {
                self.counts.resets.fetch_add(1, Ordering::SeqCst);
                (self.reset_ms, Ok(Report::ResetDone))
            }
            Command::Trim => {
                self.counts.trims.fetch_add(1, Ordering::SeqCst);
                (1, Ok(Report::Trimmed))
            }
        };
        self.pending = Some((Box::pin(sleep(Duration::from_millis(ms))), report));
        Ok(())
    }

    fn poll_report(&mut self, context: &mut Context<'_>) -> Poll<Result<Report, Gone>> {
        let Some((sleep, _)) = &mut self.pending else { return Poll::Pending };
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        let (_, report) = self.pending.take().expect("it is there");
        Poll::Ready(report)
    }

    fn pid(&self) -> Option<u32> {
        Some(self.pid)
    }
}

impl Drop for ScriptedMachine {
    fn drop(&mut self) {
        self.counts.alive.fetch_sub(1, Ordering::SeqCst);
        self.counts.ended.lock().expect("not poisoned").insert(self.pid);
    }
}

fn is_rehearsed(event: &Event<'_>) -> bool {
    let meta: Value = serde_json::from_slice(event.meta).unwrap_or_default();
    event.kind == record::INIT && meta["handler"] == REHEARSED
}

/// What `script` says, and when.
fn run(script: &[u8], timeout: Duration) -> (u64, Result<Report, Gone>) {
    let script: Value = serde_json::from_slice(script).unwrap_or_default();
    let ms = script["ms"].as_u64().unwrap_or(0);
    if u128::from(ms) > timeout.as_millis() {
        return (timeout.as_millis() as u64, Ok(stopped(Stop::TimedOut, None)));
    }
    let log = script["log"].as_str().unwrap_or_default().as_bytes().to_vec();
    let report = match script["stop"].as_str() {
        Some("exit") => Ok(stopped(Stop::Exited { status: 3 }, None)),
        Some("killed") => Ok(stopped(Stop::Killed { signal: 11, diagnosis: "page fault".into() }, None)),
        Some("memory") => Ok(stopped(Stop::OutOfMemory, None)),
        Some("violation") => Ok(stopped(Stop::Violation("wrong port".into()), None)),
        Some("silent") => return (1 << 40, Ok(Report::Ready)),
        Some("gone") => Err(Gone::Ended("killed from outside".into())),
        Some("error") => {
            let payload = br#"{"errorMessage":"no","errorType":"ValueError","requestId":"","stackTrace":[]}"#.to_vec();
            Ok(next(Some(AnswerRecord { kind: record::ERROR, payload })))
        }
        _ => {
            Ok(next(Some(AnswerRecord { kind: record::RESPONSE, payload: script["answer"].to_string().into_bytes() })))
        }
    };
    let report = report.map(|report| match report {
        Report::Stopped(stopped) => {
            let slept = Duration::from_millis(script["slept_ms"].as_u64().unwrap_or(0));
            Report::Stopped(Stopped { log, usage: Usage { slept, ..stopped.usage }, ..stopped })
        }
        other => other,
    });
    (ms, report)
}

fn next(answer: Option<AnswerRecord>) -> Report {
    stopped(Stop::Next, answer)
}

fn stopped(stop: Stop, answer: Option<AnswerRecord>) -> Report {
    let usage = Usage { duration: Duration::from_millis(2), memory_peak_bytes: 36 << 20, ..Usage::default() };
    Report::Stopped(Stopped { stop, answer, log: Vec::new(), usage })
}

/// Binding of a function snapshot that only has a name.
pub(crate) fn binding(name: &str) -> Binding {
    Binding {
        base: Arc::new(Snapshot::Scripted("base".into())),
        top: Some(Arc::new(Snapshot::Scripted(name.into()))),
        working_set: Arc::default(),
        images: Vec::new(),
        memory_bytes: 128 << 20,
        tmp_bytes: 512 << 20,
        primed: None,
    }
}
