//! Sockets: who is let in, for how long, and how it ends.
//!
//! ```text
//! accept ── a place each ──► connection ──► stream (timeouts) ──► hyper ──► handler
//!    │          (room)           ▲
//!  stop ──── finish what runs ───┘ ── the limit has passed: abort
//! ```
//!
//! Connections above the limit are left in the kernel's backlog, where they cost nothing, until one that has been silent has made room or
//! others have ended. Nothing a client does or leaves undone holds more than its own connection, and that not for ever.

mod at_once;
mod connection;
mod limits;
mod room;
mod stream;

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub use limits::Limits;
use room::Room;

/// What answers a request. A trait alias in all but name, so that the server can be tested without a platform.
pub trait Handler: Send + Sync + 'static {
    /// Answers `request`. Dropped if the client goes away before.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Pause after an `accept` that failed for want of something, as descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener` until `stop` completes; then finishes what runs, for at most [`Limits::shutdown`].
pub async fn serve<H: Handler>(listener: TcpListener, limits: Limits, handler: Arc<H>, stop: impl Future<Output = ()>) {
    let room = Room::new(limits.connections);
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);

    for number in 0.. {
        // Reaped as they end: the set holds running connections only.
        while connections.try_join_next().is_some() {}
        let next = async { Ok((listener.accept().await?, room.place(number).await)) };
        let ((socket, peer), place) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => match next {
                Ok(next) => next,
                Err(error) => {
                    after_accept_error(&error).await;
                    continue;
                }
            },
        };
        let serving = connection::serve(socket, place.phase(), limits.clone(), Arc::clone(&handler), stopped.clone());
        connections.spawn(async move {
            if let Err(error) = serving.await {
                tracing::debug!(%peer, error = %error, "connection ended");
            }
            drop(place);
        });
    }

    drop(listener);
    stopping.send_replace(true);
    finish(connections, limits.shutdown).await;
}

/// The client may be at fault (it was gone before we looked), or we are short of something: then trying again at once
/// would only burn a core.
async fn after_accept_error(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections; trying again");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn finish(mut connections: JoinSet<()>, limit: Duration) {
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are still open at the end of the limit; closing them");
        connections.shutdown().await;
    }
}
