//! The thread that sends: arrivals in, samples out.
//!
//! ```text
//! schedule ── wait until it is due ──► connection? ──no──► unsent
//!                                          │ yes
//!                                          ▼
//!                              attempt ──► answer, refusal, error ──► sample
//!                                 ▲                │
//!                                 └── at once ─────┘  if clients do not give up
//! ```

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::Notify,
    task::{LocalSet, spawn_local, yield_now},
    time::timeout_at,
};

use crate::{
    connection::{Connection, Failure},
    outcome::Outcome,
    pool::{Lease, Pool},
    run::{Pace, Plan},
    schedule::{Picker, Schedule},
    sign::Prepared,
    timer::Timer,
};

/// How often samples are handed over.
const FLUSH: Duration = Duration::from_millis(50);
/// Arrivals that may be late one after the other before answers get their turn.
const BURST: usize = 32;
/// How long it takes at most to notice that the run is to end.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// What became of one attempt. Times are nanoseconds since the begin of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Number of the arrival.
    pub(crate) number: u64,
    /// Its function.
    pub(crate) target: usize,
    /// 0 for the first attempt.
    pub(crate) attempt: u32,
    /// When the plan wanted the arrival.
    pub(crate) intended_ns: u64,
    /// When this attempt should have left: that, or when the one before had failed.
    pub(crate) due_ns: u64,
    /// When it did.
    pub(crate) begun_ns: u64,
    /// When its answer had been read to the end.
    pub(crate) done_ns: u64,
    pub(crate) outcome: Outcome,
}

/// What a sender says from time to time.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Which sender.
    pub(crate) thread: usize,
    /// Everything up to then is in this batch or one before.
    pub(crate) until_ns: u64,
    pub(crate) samples: Vec<Sample>,
    /// Arrivals since the last one.
    pub(crate) arrivals: u64,
    /// Requests without an answer, sent or about to be.
    pub(crate) in_flight: usize,
    /// Most of them since the last batch.
    pub(crate) in_flight_max: usize,
    /// Most connections so far.
    pub(crate) connections: usize,
    /// What its thread has used of its CPU.
    pub(crate) cpu: Duration,
    /// What was said by the first of each kind of failure.
    pub(crate) examples: BTreeMap<Outcome, String>,
}

/// What one sender has to do.
pub(crate) struct Share {
    pub(crate) plan: Arc<Plan>,
    pub(crate) address: SocketAddr,
    /// Its number among `threads`; it sends each arrival whose number is that, modulo `threads`.
    pub(crate) index: usize,
    pub(crate) threads: usize,
    pub(crate) begin: Instant,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Sends all that a share has, and returns when everything has its outcome.
pub(crate) fn send(share: Share, batches: &mpsc::Sender<Batch>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let prepared = share.plan.targets.iter().map(|target| {
        let prepared = Prepared::new(&share.plan.endpoint, target, share.plan.credentials.clone());
        prepared.map_err(io::Error::other)
    });
    let connections = share.plan.setting.connections;
    let connections = connections / share.threads + usize::from(share.index < connections % share.threads);
    let sender = Rc::new(Sender {
        prepared: RefCell::new(prepared.collect::<io::Result<_>>()?),
        pool: Pool::new(connections),
        in_flight: Cell::new(0),
        is_quiet: Notify::new(),
        batch: RefCell::default(),
        seen: Cell::new(0),
        share,
    });
    LocalSet::new().block_on(&runtime, async {
        let flusher = spawn_local(Rc::clone(&sender).flush_often(batches.clone()));
        match &sender.share.plan.pace {
            Pace::Closed { clients, duration } => Rc::clone(&sender).closed(*clients, *duration).await?,
            Pace::Open { .. } | Pace::Replay(_) => sender.open().await?,
        }
        while sender.in_flight.get() > 0 {
            sender.is_quiet.notified().await;
        }
        flusher.abort();
        sender.flush(batches);
        Ok(())
    })
}

struct Sender {
    share: Share,
    prepared: RefCell<Vec<Prepared>>,
    pool: Pool,
    /// Arrivals that have no outcome yet.
    in_flight: Cell<usize>,
    /// Told when nothing is in flight.
    is_quiet: Notify,
    batch: RefCell<Batch>,
    /// Kinds of failure that have an example, one bit each.
    seen: Cell<u32>,
}

impl Sender {
    /// Sends arrivals when they are due, whatever became of those before.
    async fn open(self: &Rc<Sender>) -> io::Result<()> {
        let timer = Timer::new()?;
        let plan = &self.share.plan;
        let weights: Vec<f64> = plan.targets.iter().map(|target| target.weight).collect();
        let schedule = match &plan.pace {
            Pace::Replay(trace) => Schedule::of_trace(&trace.entries, &weights, plan.seed),
            Pace::Open { profile, spacing } => Schedule::of_profile(profile, *spacing, &weights, plan.seed),
            Pace::Closed { .. } => return Ok(()),
        };
        let (index, threads) = (self.share.index as u64, self.share.threads as u64);
        let mut burst = 0;
        for arrival in schedule.filter(|arrival| arrival.number % threads == index) {
            let due = self.share.begin + arrival.at;
            while Instant::now() < due && !self.is_stopped() {
                timer.until(due.min(Instant::now() + STOP_CHECK)).await?;
                burst = 0;
            }
            if self.is_stopped() {
                break;
            }
            let client = self.arrive(arrival.number, arrival.target, arrival.at.as_nanos() as u64);
            spawn_local(client);
            burst += 1;
            if burst == BURST {
                yield_now().await;
                burst = 0;
            }
        }
        Ok(())
    }

    /// Sends from so many clients, each when it has its answer.
    async fn closed(self: Rc<Sender>, clients: usize, duration: Duration) -> io::Result<()> {
        Timer::new()?.until(self.share.begin).await?;
        let weights: Vec<f64> = self.share.plan.targets.iter().map(|target| target.weight).collect();
        let (index, threads) = (self.share.index, self.share.threads);
        let picker = Rc::new(RefCell::new(Picker::new(&weights, self.share.plan.seed.wrapping_add(index as u64))));
        let end_ns = duration.as_nanos() as u64;
        let numbers = Rc::new(Cell::new(index as u64));
        let clients = (0..clients).filter(|client| client % threads == index).map(|_| {
            let (sender, picker, numbers) = (Rc::clone(&self), Rc::clone(&picker), Rc::clone(&numbers));
            spawn_local(async move {
                while sender.now_ns() < end_ns && !sender.is_stopped() {
                    let number = numbers.replace(numbers.get() + threads as u64);
                    let target = picker.borrow_mut().pick();
                    let now_ns = sender.now_ns();
                    sender.arrive(number, target, now_ns).await;
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        for client in clients {
            client.await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// One arrival, to the outcome of its last attempt.
    fn arrive(self: &Rc<Sender>, number: u64, target: usize, intended_ns: u64) -> impl Future<Output = ()> + use<> {
        let flight = Flight::begin(self);
        self.batch.borrow_mut().arrivals += 1;
        let sender = Rc::clone(self);
        async move {
            let _flight = flight;
            let mut due_ns = intended_ns;
            let Some(mut lease) = sender.pool.lease() else {
                let now_ns = sender.now_ns();
                let outcome = Outcome::Unsent;
                let (attempt, begun_ns, done_ns) = (0, now_ns, now_ns);
                sender.record(Sample { number, target, attempt, intended_ns, due_ns, begun_ns, done_ns, outcome });
                return;
            };
            for attempt in 0..sender.share.plan.setting.attempts.max(1) {
                let begun_ns = sender.now_ns();
                let outcome = sender.attempt(&mut lease, target).await;
                let done_ns = sender.now_ns();
                sender.record(Sample { number, target, attempt, intended_ns, due_ns, begun_ns, done_ns, outcome });
                if !outcome.may_be_retried() || sender.is_stopped() {
                    return;
                }
                due_ns = done_ns;
            }
        }
    }

    /// Sends one request, within its limits of time. A connection whose request did not end is dropped, which closes it.
    async fn attempt(&self, lease: &mut Lease<'_>, target: usize) -> Outcome {
        let setting = &self.share.plan.setting;
        let (limit, outcome) = match setting.hang_up_after {
            Some(limit) if limit < setting.timeout => (limit, Outcome::HungUp),
            _ => (setting.timeout, Outcome::TimedOut),
        };
        let exchange = self.exchange(lease, target);
        timeout_at((Instant::now() + limit).into(), exchange).await.unwrap_or(outcome)
    }

    async fn exchange(&self, lease: &mut Lease<'_>, target: usize) -> Outcome {
        let request = self.prepared.borrow_mut()[target].request();
        let Ok(mut request) = request else { return Outcome::ClientError };
        let mut idle = lease.take();
        loop {
            let is_new = idle.is_none();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => match Connection::open(&self.share.plan.endpoint, self.share.address).await {
                    Ok(connection) => connection,
                    Err(problem) => return self.failed(Outcome::NoConnection, || problem),
                },
            };
            match connection.exchange(request).await {
                Ok((answer, connection)) => {
                    lease.put(connection);
                    let outcome = Outcome::of_answer(answer.status, &answer.headers, &answer.body);
                    if outcome == Outcome::Ok {
                        return outcome;
                    }
                    return self.failed(outcome, || {
                        format!("{} {}", answer.status.as_u16(), String::from_utf8_lossy(&answer.body))
                    });
                }
                // Closed while it was idle, which is no failure of a request; but a new one that is closed at once is.
                Err(Failure::Stale(unsent)) if !is_new => request = *unsent,
                Err(Failure::Stale(_)) => return self.failed(Outcome::Broken, || "closed at once".to_owned()),
                Err(Failure::Broken(error)) => return self.failed(Outcome::Broken, || error.to_string()),
            }
        }
    }

    /// Keeps what the first failure of each kind says.
    fn failed(&self, outcome: Outcome, say: impl FnOnce() -> String) -> Outcome {
        let bit = 1 << outcome.index();
        if self.seen.get() & bit == 0 {
            self.seen.set(self.seen.get() | bit);
            let said = say().chars().take(300).collect();
            self.batch.borrow_mut().examples.insert(outcome, said);
        }
        outcome
    }

    fn record(&self, sample: Sample) {
        self.batch.borrow_mut().samples.push(sample);
    }

    async fn flush_often(self: Rc<Sender>, batches: mpsc::Sender<Batch>) {
        let mut interval = tokio::time::interval(FLUSH);
        loop {
            interval.tick().await;
            self.flush(&batches);
        }
    }

    fn flush(&self, batches: &mpsc::Sender<Batch>) {
        let room = Vec::with_capacity(self.batch.borrow().samples.len());
        let next = Batch { samples: room, ..Batch::default() };
        let mut batch = self.batch.replace(next);
        let used = clock_gettime(ClockId::ThreadCPUTime);
        batch.thread = self.share.index;
        batch.until_ns = self.now_ns();
        (batch.in_flight, batch.in_flight_max) = self.pool.busy();
        batch.connections = self.pool.open_peak();
        batch.cpu = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
        // Nobody listens any more only if adding up has failed; that is told where it happens.
        let _ = batches.send(batch);
    }

    fn now_ns(&self) -> u64 {
        Instant::now().saturating_duration_since(self.share.begin).as_nanos() as u64
    }

    fn is_stopped(&self) -> bool {
        self.share.stop.load(Ordering::Relaxed)
    }
}

/// An arrival that has no outcome yet.
struct Flight(Rc<Sender>);

impl Flight {
    fn begin(sender: &Rc<Sender>) -> Flight {
        sender.in_flight.set(sender.in_flight.get() + 1);
        Flight(Rc::clone(sender))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let in_flight = self.0.in_flight.get() - 1;
        self.0.in_flight.set(in_flight);
        if in_flight == 0 {
            self.0.is_quiet.notify_one();
        }
    }
}
