//! Places for connections, and who has to leave when there is none.
//!
//! When all are taken, a newcomer has something to say, and most of the others have not: those that have been silent for longest, between requests
//! or in the middle of headers, are closed. A client must expect that of a connection that it keeps; one that only holds it is rid of it. Whoever
//! has a request that is being answered stays.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::stream::Phase;

/// So many leave at a time, if there are as many: looking for one costs a look at all.
const LEAVING: usize = 64;
/// Nobody has to leave who has said something this short a time ago.
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// The places.
pub(super) struct Room {
    free: Arc<Semaphore>,
    taken: Mutex<HashMap<u64, Arc<Phase>>>,
}

/// A place. Free again when it is dropped.
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    phase: Arc<Phase>,
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(places: usize) -> Arc<Room> {
        Arc::new(Room { free: Arc::new(Semaphore::new(places)), taken: Mutex::default() })
    }

    /// A place for the connection of that number, which no other has: at once, or as soon as somebody has left.
    pub(super) async fn place(self: &Arc<Room>, number: u64) -> Place {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                break permit;
            }
            self.send_away();
            // Again after a while: those who are too young to leave now may not be then.
            let freed = tokio::time::timeout(SILENCE_MIN, Arc::clone(&self.free).acquire_owned()).await;
            if let Ok(permit) = freed {
                break permit.expect("the semaphore is never closed");
            }
        };
        let phase = Arc::new(Phase::default());
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&phase));
        Place { room: Arc::clone(self), number, phase, _permit: permit }
    }

    /// Tells those to leave who have been silent for longest.
    fn send_away(&self) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = taken.values().filter_map(|phase| Some((phase.silence()?, phase)));
        let mut silent: Vec<_> = silent.filter(|(silence, _)| *silence >= SILENCE_MIN).collect();
        silent.sort_unstable_by_key(|(silence, _)| std::cmp::Reverse(*silence));
        for (_, phase) in silent.into_iter().take(LEAVING) {
            phase.send_away();
        }
    }
}

impl Place {
    /// What the connection in it is doing.
    pub(super) fn phase(&self) -> Arc<Phase> {
        Arc::clone(&self.phase)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}
