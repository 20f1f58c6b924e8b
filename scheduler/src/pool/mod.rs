//! Shells that wait to be bound. Nothing on the path of an invocation makes one.

mod primed;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(crate) use primed::{Primed, Rehearsal};
use tokio::sync::mpsc;

use crate::{
    limits,
    machine::{Binding, Host, Machine, Report, await_report},
};

/// Shells, kept full in the background: the channel is as long as there shall be shells.
pub(crate) struct Pool {
    shells: tokio::sync::Mutex<mpsc::Receiver<Box<dyn Machine>>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    ready: AtomicUsize,
    /// Why the last one could not be made.
    trouble: Mutex<Option<String>>,
}

impl Pool {
    /// Begins to make `target` shells.
    pub(crate) fn start(host: Arc<dyn Host>, target: usize) -> Pool {
        let (sender, receiver) = mpsc::channel(target.max(1));
        let state = Arc::new(State::default());
        tokio::spawn(fill(host, sender, state.clone()));
        Pool { shells: tokio::sync::Mutex::new(receiver), state }
    }

    /// A shell, as soon as there is one; or why there is none.
    pub(crate) async fn take(&self) -> Result<Box<dyn Machine>, String> {
        let mut shells =
            tokio::time::timeout(limits::SHELL_WAIT, self.shells.lock()).await.map_err(|_| self.no_shell())?;
        match tokio::time::timeout(limits::SHELL_WAIT, shells.recv()).await {
            Ok(Some(shell)) => {
                self.state.ready.fetch_sub(1, Ordering::Relaxed);
                Ok(shell)
            }
            Ok(None) => Err("no more shells are made".into()),
            Err(_) => Err(self.no_shell()),
        }
    }

    /// A shell for that binding: one that was bound to its base ahead of time, if there is one.
    pub(crate) async fn take_for(&self, binding: &Binding) -> Result<Box<dyn Machine>, String> {
        match binding.primed.as_ref().and_then(|primed| primed.take()) {
            Some(shell) => Ok(shell),
            None => self.take().await,
        }
    }

    /// How many wait.
    pub(crate) fn ready(&self) -> usize {
        self.state.ready.load(Ordering::Relaxed)
    }

    /// Why the last one could not be made, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn no_shell(&self) -> String {
        self.trouble().unwrap_or_else(|| format!("no shell for {} s", limits::SHELL_WAIT.as_secs()))
    }
}

/// Makes a shell whenever there is room for one, until the pool is dropped.
async fn fill(host: Arc<dyn Host>, sender: mpsc::Sender<Box<dyn Machine>>, state: Arc<State>) {
    let mut pause = SPAWN_PAUSE_MIN;
    while let Ok(room) = sender.reserve().await {
        let made = make(&host).await;
        let trouble = made.as_ref().err().cloned();
        *state.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        match made {
            Ok(shell) => {
                pause = SPAWN_PAUSE_MIN;
                state.ready.fetch_add(1, Ordering::Relaxed);
                room.send(shell);
            }
            Err(error) => {
                tracing::error!(%error, "a shell cannot be made");
                drop(room);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SPAWN_PAUSE_MAX);
            }
        }
    }
}

const SPAWN_PAUSE_MIN: Duration = Duration::from_millis(50);
const SPAWN_PAUSE_MAX: Duration = Duration::from_secs(5);

async fn make(host: &Arc<dyn Host>) -> Result<Box<dyn Machine>, String> {
    let host = host.clone();
    let spawned = tokio::task::spawn_blocking(move || host.spawn()).await;
    let mut shell = spawned.map_err(|error| error.to_string())??;
    let ready = |report: &Report| matches!(report, Report::Ready);
    await_report(&mut *shell, limits::SHELL_WAIT, ready).await.map_err(|gone| gone.to_string())?;
    Ok(shell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::scripted::{Counts, ScriptedHost};

    #[tokio::test(start_paused = true)]
    async fn it_is_kept_full() {
        let host = ScriptedHost::default();
        let counts = host.counts.clone();
        let pool = Pool::start(Arc::new(host), 3);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!((pool.ready(), Counts::get(&counts.spawned)), (3, 3));
        let shell = pool.take().await.expect("there is one");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!((pool.ready(), Counts::get(&counts.spawned)), (3, 4));
        drop((shell, pool));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(Counts::get(&counts.alive), 0, "a pool leaves no shell behind");
    }
}
