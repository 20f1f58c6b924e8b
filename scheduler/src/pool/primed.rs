//! Shells that are bound to a runtime ahead of time.
//!
//! A shell is bound to the base, rehearses a function that does nothing, and is reset: what the interpreter needs of the host is there then, and
//! a bind of a function adds what that function has of its own. Whoever finds none takes an empty shell, and waits for all of that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mayfly_abi::record;
use tokio::sync::mpsc;

use super::{Pool, SPAWN_PAUSE_MAX, SPAWN_PAUSE_MIN};
use crate::{
    limits,
    machine::{Binding, Command, Event, Gone, Machine, Report, Snapshot, Stop, WorkingSet, carry_out, report},
};

/// Primed shells of one base. None are made before a function needs them.
pub(crate) struct Primed {
    ready: Mutex<mpsc::Receiver<Box<dyn Machine>>>,
    usual: Arc<Mutex<Usual>>,
    /// Until it has begun.
    filler: Mutex<Option<Filler>>,
}

/// The events of a rehearsal.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// What goes with INIT.
    pub(crate) init_meta: Vec<u8>,
    /// What goes with the invocation.
    pub(crate) invoke_meta: Vec<u8>,
}

/// The pages that all functions of the base so far have of their own: shells get copies of them while nobody waits.
#[derive(Default)]
struct Usual {
    pages: Option<mayfly_vmm::WorkingSet>,
    file: Arc<WorkingSet>,
}

struct Filler {
    pool: Arc<Pool>,
    base: Binding,
    rehearsal: Rehearsal,
    usual: Arc<Mutex<Usual>>,
    sender: mpsc::Sender<Box<dyn Machine>>,
}

impl Primed {
    /// Up to `target` shells of `base`, which has no function on top.
    pub(crate) fn new(pool: Arc<Pool>, base: Binding, rehearsal: Rehearsal, target: usize) -> Primed {
        let (sender, ready) = mpsc::channel(target.max(1));
        let usual = Arc::<Mutex<Usual>>::default();
        let filler = Filler { pool, base, rehearsal, usual: usual.clone(), sender };
        Primed { ready: Mutex::new(ready), usual, filler: Mutex::new(Some(filler)) }
    }

    /// A function with that snapshot will need shells. Must be called in a tokio runtime.
    pub(crate) fn expect(&self, top: &Snapshot) {
        let mut usual = lock(&self.usual);
        let pages = top.copied();
        let pages = usual.pages.take().map_or(pages.clone(), |others| others.common(&pages));
        usual.file = Arc::new(WorkingSet::of(&pages));
        usual.pages = Some(pages);
        drop(usual);
        if let Some(filler) = lock(&self.filler).take() {
            tokio::spawn(filler.fill());
        }
    }

    /// A shell, if one is ready.
    pub(crate) fn take(&self) -> Option<Box<dyn Machine>> {
        lock(&self.ready).try_recv().ok()
    }
}

impl Filler {
    /// Primes a shell whenever there is room for one, until the shells are of no more use to anyone.
    async fn fill(self) {
        let mut pause = SPAWN_PAUSE_MIN;
        while let Ok(room) = self.sender.reserve().await {
            // Whoever has taken a shell is using the processors just now.
            tokio::time::sleep(limits::PRIME_PAUSE).await;
            match self.prime().await {
                Ok(shell) => {
                    pause = SPAWN_PAUSE_MIN;
                    room.send(shell);
                }
                Err(error) => {
                    // Once is nothing: its process was ended from outside, or with the server.
                    if pause > SPAWN_PAUSE_MIN {
                        tracing::warn!(error, "shells cannot be primed");
                    }
                    drop(room);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(SPAWN_PAUSE_MAX);
                }
            }
        }
    }

    async fn prime(&self) -> Result<Box<dyn Machine>, String> {
        let working_set = lock(&self.usual).file.clone();
        let base = Binding { working_set, ..self.base.clone() };
        let mut shell = self.pool.take().await?;
        self.rehearse(&mut *shell, &base).await.map_err(|gone| gone.to_string())?;
        Ok(shell)
    }

    async fn rehearse(&self, shell: &mut dyn Machine, base: &Binding) -> Result<(), Gone> {
        carry_out(shell, Command::Bind(base), limits::BIND_TIMEOUT, |report| matches!(report, Report::Bound)).await?;
        for (kind, meta, payload, answer) in [
            (record::INIT, &self.rehearsal.init_meta, &b""[..], record::INIT_OK),
            (record::INVOKE, &self.rehearsal.invoke_meta, b"{}", record::RESPONSE),
        ] {
            let event = Some(Event { kind, meta, payload });
            shell.start(Command::Run { event, timeout: limits::INIT_TIMEOUT, record: None })?;
            match report(shell, limits::INIT_TIMEOUT + limits::REPORT_GRACE).await? {
                Report::Stopped(stopped)
                    if stopped.stop == Stop::Next
                        && stopped.answer.as_ref().is_some_and(|found| found.kind == answer) => {}
                other => return Err(Gone::Failed(format!("the rehearsal ended with {other:?}"))),
            }
        }
        let done = |report: &Report| matches!(report, Report::ResetDone);
        carry_out(shell, Command::Reset, limits::RESET_TIMEOUT, done).await
    }
}

impl std::fmt::Debug for Primed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Primed").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::scripted::{Counts, ScriptedHost, binding};

    #[tokio::test(start_paused = true)]
    async fn shells_are_primed_once_a_function_needs_them() {
        let host = ScriptedHost::default();
        let counts = host.counts.clone();
        let pool = Arc::new(Pool::start(Arc::new(host), 1));
        let function = binding("f");
        let base = Binding { top: None, ..function.clone() };
        let rehearsal = Rehearsal { init_meta: b"{}".to_vec(), invoke_meta: b"{}".to_vec() };
        let primed = Arc::new(Primed::new(pool.clone(), base, rehearsal, 2));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(primed.take().is_none() && Counts::get(&counts.binds) == 0, "nobody needs one");
        primed.expect(function.top.as_ref().expect("it has one"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let of = |counter| Counts::get(counter);
        assert_eq!((of(&counts.inits), of(&counts.runs), of(&counts.resets), of(&counts.alive)), (2, 2, 2, 3));
        let function = Binding { primed: Some(primed.clone()), ..function };
        let mut shell = pool.take_for(&function).await.expect("there is one");
        let bound = |report: &Report| matches!(report, Report::Bound);
        carry_out(&mut *shell, Command::Bind(&function), limits::BIND_TIMEOUT, bound)
            .await
            .expect("it takes a function");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(of(&counts.inits), 3, "it is replaced");
        drop((shell, function, primed, pool));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(of(&counts.alive), 0, "nothing is left behind");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_primed_shell_there_is_an_empty_one() {
        let host = ScriptedHost { init: Some((record::ERROR, b"{}".to_vec())), ..ScriptedHost::default() };
        let pool = Arc::new(Pool::start(Arc::new(host), 1));
        let function = binding("f");
        let rehearsal = Rehearsal { init_meta: Vec::new(), invoke_meta: Vec::new() };
        let base = Binding { top: None, ..function.clone() };
        let primed = Arc::new(Primed::new(pool.clone(), base, rehearsal, 1));
        primed.expect(function.top.as_ref().expect("it has one"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(primed.take().is_none(), "no rehearsal succeeds");
        let function = Binding { primed: Some(primed), ..function };
        assert!(pool.take_for(&function).await.is_ok());
    }
}
