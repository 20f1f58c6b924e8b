//! Sockets: who is let in, for how long, and how it ends.
//!
//! ```text
//! accept ── a permit each ──► connection ──► stream (timeouts) ──► hyper ──► handler
//!    │                             ▲
//!  stop ──── finish what runs ─────┘ ── the limit has passed: abort
//! ```
//!
//! Connections above the limit are left in the kernel's backlog, so they cost nothing and are served as soon as
//! others end. Nothing a client does or leaves undone holds more than its own connection, and that not for ever.

mod at_once;
mod connection;
mod limits;
mod stream;

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

pub use limits::Limits;

/// What answers a request. A trait alias in all but name, so that the server can be tested without a platform.
pub trait Handler: Send + Sync + 'static {
    /// Answers `request`. Dropped if the client goes away before.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Pause after an `accept` that failed for want of something, as descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `listener` until `stop` completes; then finishes what runs, for at most [`Limits::shutdown`].
pub async fn serve<H: Handler>(listener: TcpListener, limits: Limits, handler: Arc<H>, stop: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);

    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = &mut stop => break,
            // Reaped as they end: the set holds running connections only.
            Some(_) = connections.join_next() => {}
            (permit, accepted) = next => match accepted {
                Ok((socket, peer)) => {
                    let serving = connection::serve(socket, limits.clone(), Arc::clone(&handler), stopped.clone());
                    connections.spawn(async move {
                        if let Err(error) = serving.await {
                            tracing::debug!(%peer, error = %error, "connection ended");
                        }
                        drop(permit);
                    });
                }
                Err(error) => after_accept_error(&error).await,
            }
        }
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
