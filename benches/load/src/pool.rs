//! Connections that wait for a request, and how many there may be.

use std::cell::RefCell;

use crate::connection::Connection;

/// Connections of one thread.
pub(crate) struct Pool {
    state: RefCell<State>,
    open_max: usize,
}

#[derive(Default)]
struct State {
    /// The one that was used last is used next: so there are only as many as are needed, and the others grow old and go.
    idle: Vec<Connection>,
    open: usize,
    open_peak: usize,
    /// Connections that have a request, and the most of them since that was asked for.
    busy: usize,
    busy_peak: usize,
}

/// The right to have one connection. Back in the pool when dropped, with the connection if there is one in it.
pub(crate) struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Pool {
    pub(crate) fn new(open_max: usize) -> Pool {
        Pool { state: RefCell::default(), open_max }
    }

    /// A connection that is idle, or leave to open one, or nothing if there are too many.
    pub(crate) fn lease(&self) -> Option<Lease<'_>> {
        let mut state = self.state.borrow_mut();
        let connection = state.idle.pop();
        if connection.is_none() {
            if state.open == self.open_max {
                return None;
            }
            state.open += 1;
            state.open_peak = state.open_peak.max(state.open);
        }
        state.busy += 1;
        state.busy_peak = state.busy_peak.max(state.busy);
        Some(Lease { pool: self, connection })
    }

    /// Most connections that were open at a time.
    pub(crate) fn open_peak(&self) -> usize {
        self.state.borrow().open_peak
    }

    /// How many have a request, and the most since this was asked last.
    pub(crate) fn busy(&self) -> (usize, usize) {
        let mut state = self.state.borrow_mut();
        let busy = state.busy;
        (busy, std::mem::replace(&mut state.busy_peak, busy))
    }
}

impl Lease<'_> {
    /// Takes the connection out. If none is put in again, it counts as closed.
    pub(crate) fn take(&mut self) -> Option<Connection> {
        self.connection.take()
    }

    pub(crate) fn put(&mut self, connection: Option<Connection>) {
        self.connection = connection;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.borrow_mut();
        state.busy -= 1;
        match self.connection.take() {
            Some(connection) => state.idle.push(connection),
            None => state.open -= 1,
        }
    }
}
