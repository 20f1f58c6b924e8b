//! One event: given to an instance, followed to its end, turned into an answer and log lines.
//!
//! ```text
//!  Flight ── stopped ──► Outcome; the instance goes back, is reset, or ends
//!    │
//!    └── dropped: the caller has gone. What has begun is finished in the background
//! ```

mod failure;
mod log;
mod meta;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
pub(crate) use failure::Failure;
pub(crate) use log::timestamp;
pub(crate) use meta::{INIT_STREAM, InitMeta, InvokeMeta};

use self::{
    log::{Figures, InvocationLog},
    meta::RestoreMeta,
};
use crate::{
    catalog::Revision,
    clock::{Clock, Instant},
    dispatch::{Lane, Lease, Seat, Turn, concurrency::Permit},
    instance::{Instance, Running},
    invocation::{Answer, Invocation, Outcome, Start, Timing},
    limits,
    logs::FunctionLog,
    machine::{AnswerRecord, Event, Gone, Stop, Stopped, Usage},
    refusal::Refusal,
    settings::StateMode,
};

/// What an invocation is carried out with.
pub(crate) struct Errand {
    pub(crate) invocation: Invocation,
    pub(crate) revision: Arc<Revision>,
    pub(crate) version: String,
    pub(crate) mode: StateMode,
    pub(crate) log: Arc<FunctionLog>,
    pub(crate) clock: Clock,
    /// Held until it has ended.
    pub(crate) _permit: Permit,
    pub(crate) accepted: Instant,
}

/// Carries out an invocation on an instance of `lane`.
pub(crate) async fn carry_out(errand: Errand, lane: Arc<Lane>) -> Result<Outcome, Refusal> {
    let mut errand = errand;
    let mut gone = String::new();
    let turn = lane.turn().await?;
    for _ in 0..limits::INSTANCE_TRIES {
        let lease = lane.acquire(&turn).await?;
        match Flight::take_off(errand, lane.clone(), lease) {
            Ok(flight) => return Following(Some((flight, turn))).land().await,
            Err((back, why)) => (errand, gone) = (*back, why.to_string()),
        }
    }
    Err(Refusal::Platform(gone))
}

/// The outcome of an invocation of a function that could not be loaded.
pub(crate) fn init_failed(errand: &Errand, init: &InitFailure) -> Outcome {
    let Errand { invocation, revision, .. } = errand;
    let configuration = &revision.configuration;
    let mut log = InvocationLog::new(
        errand.log.clone(),
        errand.clock,
        configuration.logging.format,
        INIT_STREAM,
        &invocation.request_id,
    );
    log.start(&errand.version);
    log.guest(&init.log);
    let (payload, failure) = match &init.cause {
        InitCause::Raised(payload) => (payload.clone(), ("error", "Runtime.Unknown")),
        InitCause::Ended(stop) => {
            let failure = Failure::of_stop(stop, init.timeout.as_secs() as u32);
            log.failure(&failure);
            (failure.payload(&invocation.request_id).into(), status(&failure))
        }
    };
    let figures = Figures {
        duration: init.duration,
        billed_ms: billed_ms(init.duration),
        memory_mb: configuration.memory_mb,
        memory_peak_bytes: 0,
        start: Start::Warm,
        bind: Duration::ZERO,
        failure: Some(failure),
    };
    Outcome {
        executed_version: errand.version.clone(),
        answer: Answer::FunctionError(payload),
        log_tail: log.end(&figures),
        start: figures.start,
        timing: Timing { total: errand.accepted.elapsed(), ..Timing::default() },
        billed_ms: figures.billed_ms,
        memory_peak_bytes: 0,
    }
}

/// Why a function could not be loaded.
#[derive(Debug, Clone)]
pub(crate) struct InitFailure {
    pub(crate) cause: InitCause,
    pub(crate) log: Vec<u8>,
    pub(crate) duration: Duration,
    pub(crate) timeout: Duration,
    pub(crate) at: Instant,
}

/// The cause of an [`InitFailure`].
#[derive(Debug, Clone)]
pub(crate) enum InitCause {
    /// Lambda's error object, made by the runtime.
    Raised(Bytes),
    /// The guest ended.
    Ended(Stop),
}

/// An event with an instance that works on it.
struct Flight {
    running: Running,
    seat: Seat,
    lane: Arc<Lane>,
    errand: Errand,
    log: InvocationLog,
    start: Start,
    /// Whether its working set is recorded.
    is_recorded: bool,
    /// When it had an instance, and when all was ready for that.
    began: Instant,
    ready: Instant,
}

impl Flight {
    /// Gives the event to the instance; if that has gone, gives the errand back.
    fn take_off(errand: Errand, lane: Arc<Lane>, lease: Lease) -> Result<Flight, (Box<Errand>, Gone)> {
        let Some((instance, seat)) = lease.take() else {
            return Err((Box::new(errand), Gone::Ended("taken before".into())));
        };
        let began = errand.clock.now();
        let Errand { invocation, revision, .. } = &errand;
        let configuration = &revision.configuration;
        let timeout = Duration::from_secs(configuration.timeout_s.into());
        let start = match instance.served {
            0 if instance.is_ahead => Start::Warm,
            0 => Start::Bound,
            _ if instance.is_restored => Start::Fresh,
            _ => Start::Warm,
        };
        let stream = instance.stream.clone();
        let meta = InvokeMeta {
            request_id: &invocation.request_id,
            deadline_ms: errand.clock.unix_ms() + timeout.as_millis() as u64,
            invoked_function_arn: &invocation.invoked_arn,
            client_context: invocation.client_context.as_ref(),
            identity: None,
            trace_id: invocation.trace_id.as_deref(),
            tenant_id: None,
            restore: instance.is_restored.then(|| RestoreMeta::new(&stream, instance.is_provisioned)),
        };
        let meta = meta.to_json();
        let event = Event { kind: mayfly_abi::record::INVOKE, meta: &meta, payload: &invocation.payload };
        let record = (instance.served == 0).then(|| lane.working_set().to_record()).flatten();
        let is_recorded = record.is_some();
        let ready = errand.clock.now();
        let running = match instance.run(event, timeout, record) {
            Ok(running) => running,
            Err(gone) => {
                if is_recorded {
                    lane.working_set().not_recorded();
                }
                return Err((Box::new(errand), gone));
            }
        };
        let format = configuration.logging.format;
        let mut log = InvocationLog::new(errand.log.clone(), errand.clock, format, &stream, &invocation.request_id);
        log.start(&errand.version);
        seat.tenant.begin();
        Ok(Flight { running, seat, lane, errand, log, start, is_recorded, began, ready })
    }

    /// The outcome, and the instance on its way to wherever it goes now.
    fn conclude(self, stopped: Stopped, cause: Option<Failure>) -> Outcome {
        let stopped_at = self.errand.clock.now();
        let timing = self.timing(&stopped.usage, stopped_at);
        let Flight { running, seat, lane, errand, mut log, start, is_recorded, began, .. } = self;
        let Stopped { stop, answer, log: lines, usage } = stopped;
        log.guest(&lines);
        let duration = if usage.duration.is_zero() { stopped_at - began } else { usage.duration };
        let configuration = &errand.revision.configuration;
        let bind = running.instance().bind;
        let is_evicted = cause.is_some();
        let failure = match cause {
            Some(cause) => Err(cause),
            None => understand(&stop, answer, configuration.timeout_s),
        };
        let (answer, failure) = match failure {
            Ok(answer) => (answer, None),
            Err(failure) => {
                log.failure(&failure);
                (Answer::FunctionError(failure.payload(&errand.invocation.request_id).into()), Some(failure))
            }
        };
        let figures = Figures {
            duration,
            billed_ms: billed_ms(duration),
            memory_mb: configuration.memory_mb,
            memory_peak_bytes: usage.memory_peak_bytes,
            start,
            bind,
            failure: failure.as_ref().map(status),
        };
        let log_tail = log.end(&figures);
        let has_failed = failure.is_some_and(|failure| failure.error_type != "Function.ResponseSizeTooLarge");
        // It may have been told to go at this very moment.
        let must_go = seat.tenant.end() || is_evicted;
        let instance = running.settle(&stop).filter(|_| !must_go);
        // What one that ended has written says little of others.
        if is_recorded && (instance.is_none() || stop.is_end()) {
            lane.working_set().not_recorded();
        }
        dispose(instance, seat, &lane, if has_failed { StateMode::Fresh } else { errand.mode });
        let now = errand.clock.now();
        let timing = Timing { answer: now - stopped_at, total: now - errand.accepted, ..timing };
        Outcome {
            executed_version: errand.version,
            answer,
            log_tail,
            start,
            timing,
            billed_ms: figures.billed_ms,
            memory_peak_bytes: usage.memory_peak_bytes,
        }
    }

    /// Where the time went until now, when the server has the report. What the VM process says of it is bounded by what was seen from here.
    fn timing(&self, usage: &Usage, stopped_at: Instant) -> Timing {
        let waited = self.began.saturating_duration_since(self.errand.accepted);
        let instance = self.running.instance();
        let bind = self.bind();
        let away = stopped_at.saturating_duration_since(self.ready);
        let handover = usage.handover.min(away);
        let run = usage.duration.min(away - handover);
        Timing {
            queue: waited - bind,
            bind,
            handover: self.ready - self.began + handover,
            run,
            report: away - handover - run,
            reset: (self.start == Start::Fresh).then_some(instance.reset),
            compute: usage.computed.min(run),
            exits: usage.exits,
            faults: usage.faults,
            ..Timing::default()
        }
    }

    /// How long it waited for a bind, which may have begun before this invocation came, for another.
    fn bind(&self) -> Duration {
        let waited = self.began.saturating_duration_since(self.errand.accepted);
        if self.start == Start::Bound { self.running.instance().bind.min(waited) } else { Duration::ZERO }
    }

    /// It had to go, for the host is short of memory.
    fn evict(self, taken_bytes: u64) -> Outcome {
        let failure = Failure::host_out_of_memory(taken_bytes);
        tracing::warn!(
            function = self.errand.invocation.function,
            taken_bytes,
            "an invocation was ended: memory is low"
        );
        let stop = Stop::Killed { signal: 9, diagnosis: String::new() };
        let usage = Usage { memory_peak_bytes: taken_bytes, ..Usage::default() };
        self.conclude(Stopped { stop, answer: None, log: Vec::new(), usage }, Some(failure))
    }

    /// It ended without a word.
    fn lost(mut self, gone: &Gone) -> Refusal {
        self.log.say(format!("mayfly: {gone}"));
        tracing::error!(function = self.errand.invocation.function, %gone, "an invocation was lost");
        if self.is_recorded {
            self.lane.working_set().not_recorded();
        }
        dispose(None, self.seat, &self.lane, self.errand.mode);
        Refusal::Platform(format!("the invocation was lost: {gone}"))
    }
}

/// What the guest's stop and answer mean to the caller.
fn understand(stop: &Stop, answer: Option<AnswerRecord>, timeout_s: u32) -> Result<Answer, Failure> {
    match (stop, answer) {
        (Stop::Next, Some(AnswerRecord { kind: mayfly_abi::record::RESPONSE, payload })) => {
            if payload.len() <= limits::RESPONSE_BYTES {
                Ok(Answer::Response(payload.into()))
            } else {
                Err(Failure::response_too_large())
            }
        }
        // The handler raised: a clean answer.
        (Stop::Next, Some(AnswerRecord { kind: mayfly_abi::record::ERROR, payload })) => {
            Ok(Answer::FunctionError(payload.into()))
        }
        (stop, _) => Err(Failure::of_stop(stop, timeout_s)),
    }
}

/// Sends an instance to where it belongs after an invocation: back, to be reset first, or, if there is none, its seat to another. One whose program
/// has ended, or did not answer, is reset whatever its function asks for.
fn dispose(instance: Option<Instance>, seat: Seat, lane: &Arc<Lane>, mode: StateMode) {
    let Some(instance) = instance else {
        lane.failed();
        return drop(seat);
    };
    match mode {
        StateMode::Reuse => lane.give_back(instance, seat),
        StateMode::Fresh => {
            lane.reset_begins();
            let lane = lane.clone();
            // Off the caller's path; the instance counts as busy until it is done.
            lane.clone().spawn(async move {
                let was_reset = instance.reset().await;
                lane.reset_ended();
                match was_reset {
                    Ok(instance) => lane.give_back(instance, seat),
                    Err(gone) => {
                        tracing::error!(%gone, "an instance could not be reset");
                        lane.failed();
                        drop(seat);
                    }
                }
            });
        }
    }
}

fn status(failure: &Failure) -> (&'static str, &'static str) {
    (if failure.error_type == "Sandbox.Timedout" { "timeout" } else { "error" }, failure.error_type)
}

/// Lambda bills begun milliseconds.
fn billed_ms(duration: Duration) -> u64 {
    (duration.as_micros() as u64).div_ceil(1000).max(1)
}

/// Follows a flight to its end, whoever waits for it.
struct Following(Option<(Flight, Turn)>);

impl Following {
    async fn land(mut self) -> Result<Outcome, Refusal> {
        let Some((flight, _)) = &mut self.0 else { return Err(Refusal::ShuttingDown) };
        let ended = tokio::select! {
            biased;
            stopped = flight.running.stopped() => Ok(stopped),
            taken_bytes = flight.seat.tenant.evicted() => Err(taken_bytes),
        };
        // The turn ends after the instance went back: the next one may need just that.
        let Some((flight, mut turn)) = self.0.take() else { return Err(Refusal::ShuttingDown) };
        match ended {
            Err(taken_bytes) => {
                turn.cut_short();
                Ok(flight.evict(taken_bytes))
            }
            Ok(Ok(stopped)) => {
                // Also if its caller goes while its log is read.
                turn.note(flight.bind(), &stopped.usage);
                let is_long = stopped.log.len() > limits::LOG_AT_ONCE_BYTES;
                let conclude = move || flight.conclude(stopped, None);
                // Other invocations are not to wait for this one's log.
                if is_long {
                    let concluded = tokio::task::spawn_blocking(conclude).await;
                    concluded.map_err(|error| Refusal::Platform(error.to_string()))
                } else {
                    Ok(conclude())
                }
            }
            Ok(Err(gone)) => {
                turn.cut_short();
                Err(flight.lost(&gone))
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some((flight, turn)) = self.0.take() {
            let lane = flight.lane.clone();
            lane.spawn(async move { drop(Following(Some((flight, turn))).land().await) });
        }
    }
}

/// A name for the log stream of an instance that begins now.
pub(crate) fn log_stream(unix_ms: u64) -> String {
    let (year, month, day) = crate::clock::date(unix_ms);
    format!("{year:04}/{month:02}/{day:02}/[$LATEST]{}", uuid::Uuid::new_v4().simple())
}
