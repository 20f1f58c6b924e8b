//! A socket on which neither side can be kept waiting for ever.
//!
//! hyper has no bound on how long a client may take to read its answer, and counts the time for headers from the end of
//! the answer before. Both clocks are here.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// What a connection is doing: shared by the stream, which sees bytes, and the service, which sees requests.
#[derive(Default)]
pub(super) struct Phase(AtomicU8);

const IDLE: u8 = 0;
const HEADERS: u8 = 1;
const BUSY: u8 = 2;

impl Phase {
    /// Marks a request as being answered until the guard is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> BusyGuard {
        self.0.store(BUSY, Ordering::Relaxed);
        BusyGuard(Arc::clone(self))
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Phase::busy`].
pub(super) struct BusyGuard(Arc<Phase>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::Relaxed);
    }
}

/// See the module.
pub(super) struct Stream {
    socket: TcpStream,
    phase: Arc<Phase>,
    header_timeout: Duration,
    header_begun: Instant,
    header_timer: Option<Pin<Box<Sleep>>>,
    write_stall: Duration,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, phase: Arc<Phase>, header_timeout: Duration, write_stall: Duration) -> Stream {
        let header_begun = Instant::now();
        Stream { socket, phase, header_timeout, header_begun, header_timer: None, write_stall, write_timer: None }
    }

    /// Ends a write that has waited too long; every byte that the client takes starts the clock anew.
    fn bound_write<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.write_timer = None;
            return wrote;
        }
        let deadline = Instant::now() + self.write_stall;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);

        if this.phase.get() == IDLE && buffer.filled().len() > before {
            this.phase.0.store(HEADERS, Ordering::Relaxed);
            this.header_begun = Instant::now();
        }
        if this.phase.get() != HEADERS {
            this.header_timer = None;
        } else if read.is_pending() {
            // Only now: headers that come in one piece, as nearly all do, cost no timer.
            let deadline = this.header_begun + this.header_timeout;
            let timer = this.header_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the headers do not end")));
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.bound_write(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.bound_write(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
