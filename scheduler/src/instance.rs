//! A shell that is bound to one function's snapshot.
//!
//! ```text
//!  shell ──bind──► Instance ──run──► Running ──stopped──┬─ Next ──► Instance (reuse)
//!                     ▲                                 ├─ Next ──► reset ──► Instance (fresh)
//!                     │                                 ├─ the program ended ──► reset ──► Instance
//!                     └─────────────────────────────────┘
//!                                                       └─ anything else, silence ──► gone: the process is ended
//! ```
//!
//! The phases are types, taken by value: a machine that failed cannot come back, since there is no value left to give back.

use std::{fs::File, time::Duration};

use crate::{
    clock::Instant,
    limits,
    machine::{Binding, Command, Event, Gone, Machine, Report, Stop, Stopped, carry_out, report},
    shares::Member,
};

/// An instance that waits for an event.
pub(crate) struct Instance {
    machine: Box<dyn Machine>,
    /// Name of its log stream.
    pub(crate) stream: String,
    /// How long the bind took.
    pub(crate) bind: Duration,
    /// How long the last reset took.
    pub(crate) reset: Duration,
    /// Events it has served.
    pub(crate) served: u64,
    /// Whether its memory is the snapshot's: the next event carries what differs between instances.
    pub(crate) is_restored: bool,
    /// Whether it was idle before its first event: nobody has waited for its bind.
    pub(crate) is_ahead: bool,
    /// Whether it was bound because it was wanted before anyone called.
    pub(crate) is_provisioned: bool,
    /// It was bound for nobody in particular, and nobody counts on it: it may go before others, and keeps what makes it fast until it is used.
    pub(crate) is_spare: bool,
    /// Whether it has given back the memory that it needs only to be fast.
    pub(crate) is_trimmed: bool,
    /// Since when it waits.
    pub(crate) idle_since: Instant,
    /// After the machine, so that it has ended when it leaves.
    _member: Member,
}

/// An instance with an event. Dropping it ends the machine.
pub(crate) struct Running {
    instance: Instance,
    deadline: Instant,
}

impl Instance {
    /// Binds a shell.
    pub(crate) async fn bind(mut shell: Box<dyn Machine>, binding: &Binding, stream: String) -> Result<Instance, Gone> {
        let start = Instant::now();
        let bound = |report: &Report| matches!(report, Report::Bound);
        carry_out(&mut *shell, Command::Bind(binding), limits::BIND_TIMEOUT, bound).await?;
        let now = Instant::now();
        Ok(Instance {
            machine: shell,
            stream,
            bind: now - start,
            reset: Duration::ZERO,
            served: 0,
            is_restored: true,
            is_ahead: false,
            is_provisioned: false,
            is_spare: false,
            is_trimmed: false,
            idle_since: now,
            _member: Member::default(),
        })
    }

    /// The same, as a member of those that share processors.
    pub(crate) fn with_share(self, member: Member) -> Instance {
        Instance { _member: member, ..self }
    }

    /// Gives it an event. On an error the event has not been seen by anyone. `record` takes its working set.
    pub(crate) fn run(mut self, event: Event<'_>, timeout: Duration, record: Option<&File>) -> Result<Running, Gone> {
        self.machine.start(Command::Run { event: Some(event), timeout, record })?;
        self.served += 1;
        self.is_restored = false;
        self.is_trimmed = false;
        // The machine itself ends the guest in time; if it does not even do that, it is ended from here.
        Ok(Running { instance: self, deadline: Instant::now() + timeout + limits::REPORT_GRACE })
    }

    /// Puts its memory back.
    pub(crate) async fn reset(mut self) -> Result<Instance, Gone> {
        let start = Instant::now();
        let done = |report: &Report| matches!(report, Report::ResetDone);
        carry_out(&mut *self.machine, Command::Reset, limits::RESET_TIMEOUT, done).await?;
        self.is_restored = true;
        self.reset = start.elapsed();
        Ok(self)
    }

    /// Gives back memory that it needs only to be fast.
    pub(crate) async fn trim(mut self) -> Result<Instance, Gone> {
        let done = |report: &Report| matches!(report, Report::Trimmed);
        carry_out(&mut *self.machine, Command::Trim, limits::RESET_TIMEOUT, done).await?;
        self.is_trimmed = true;
        Ok(self)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.machine.pid()
    }

    /// The machine itself, for those who make snapshots.
    pub(crate) fn machine(&mut self) -> &mut dyn Machine {
        &mut *self.machine
    }
}

impl Running {
    /// How it ends. Nothing is lost if this is dropped before it is ready.
    pub(crate) async fn stopped(&mut self) -> Result<Stopped, Gone> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match report(&mut *self.instance.machine, left).await? {
            Report::Stopped(stopped) => Ok(stopped),
            Report::Failed(why) => Err(Gone::Failed(why)),
            other => Err(Gone::Failed(format!("unexpected report {other:?}"))),
        }
    }

    /// What is left after it stopped: the instance, if it waits for its next event or can be reset, else nothing.
    pub(crate) fn settle(self, stop: &Stop) -> Option<Instance> {
        (*stop == Stop::Next || stop.is_end()).then_some(self.instance)
    }

    /// The instance, while it runs.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }
}
