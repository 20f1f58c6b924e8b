//! A socket on which neither side can be kept waiting for ever.
//!
//! hyper has no bound on how long a client may take to read its answer, and counts the time for headers from the end of
//! the answer before. All clocks of a connection are here; those of its reads are one timer, which is not set anew for every
//! request: when it rings, it is looked at how long the client really has been silent.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Instant, Sleep},
};

/// What a connection is doing: shared by the stream, which sees bytes, the service, which sees requests, and the room, which may want its place.
pub(super) struct Phase {
    now: AtomicU8,
    begun: Instant,
    /// Milliseconds from `begun` to the last change.
    changed_ms: AtomicU64,
    leave: Notify,
}

const IDLE: u8 = 0;
const HEADERS: u8 = 1;
const BUSY: u8 = 2;

impl Default for Phase {
    fn default() -> Phase {
        Phase { now: AtomicU8::new(IDLE), begun: Instant::now(), changed_ms: AtomicU64::new(0), leave: Notify::new() }
    }
}

impl Phase {
    /// Marks a request as being answered until the guard is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> BusyGuard {
        self.now.store(BUSY, Ordering::Relaxed);
        BusyGuard(Arc::clone(self))
    }

    /// For how long the client has been silent, if it is its turn.
    pub(super) fn silence(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.changed_ms.load(Ordering::Relaxed));
        (self.get() != BUSY).then(|| self.begun.elapsed().saturating_sub(since))
    }

    /// Asks the connection to end if it still is the client's turn.
    pub(super) fn send_away(&self) {
        self.leave.notify_one();
    }

    /// Completes when the connection is to end: the client is silent, and its place is needed.
    pub(super) async fn sent_away(&self) {
        loop {
            self.leave.notified().await;
            if self.get() != BUSY {
                return;
            }
        }
    }

    fn changed(&self, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_millis();
        self.changed_ms.store(since as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.now.load(Ordering::Relaxed)
    }
}

/// See [`Phase::busy`].
pub(super) struct BusyGuard(Arc<Phase>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        // Before it is the client's turn: until now it was not he who was silent.
        self.0.changed(Instant::now());
        self.0.now.store(IDLE, Ordering::Relaxed);
    }
}

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the rest of the headers, from their first byte.
    pub(super) headers: Duration,
    /// For a request.
    pub(super) idle: Duration,
    /// Until it takes some of its answer.
    pub(super) write: Duration,
}

/// See the module.
pub(super) struct Stream {
    socket: TcpStream,
    phase: Arc<Phase>,
    patience: Patience,
    /// The phase when it was last looked at, and the moment from which its time counts.
    seen: u8,
    since: Instant,
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, phase: Arc<Phase>, patience: Patience) -> Stream {
        let since = Instant::now();
        Stream { socket, phase, patience, seen: IDLE, since, read_timer: None, write_timer: None }
    }

    /// Ready when the client has been silent for too long in this phase.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        let (limit, what) = match self.seen {
            IDLE => (self.patience.idle, "no request comes"),
            HEADERS => (self.patience.headers, "the headers do not end"),
            _ => return Poll::Pending,
        };
        let deadline = self.since + limit;
        let timer = self.read_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        // One that rings too early is set anew then, which is rare; one that would ring too late, now.
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(what);
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Ends a write that has waited too long; every byte that the client takes starts the clock anew.
    fn bound_write<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.write_timer = None;
            if self.seen == IDLE {
                // The end of an answer is still on its way, and the client takes it.
                self.since = Instant::now();
                self.phase.changed(self.since);
            }
            return wrote;
        }
        let deadline = Instant::now() + self.patience.write;
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

        let has_begun = this.phase.get() == IDLE && buffer.filled().len() > before;
        if has_begun {
            this.phase.now.store(HEADERS, Ordering::Relaxed);
        }
        let phase = this.phase.get();
        if has_begun || phase != this.seen {
            (this.seen, this.since) = (phase, Instant::now());
            this.phase.changed(this.since);
        }
        if read.is_pending() {
            let silence = ready!(this.poll_silence(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, silence)));
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
