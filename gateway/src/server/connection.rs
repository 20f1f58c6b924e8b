//! One connection, from its first request to its last.

use std::{convert::Infallible, sync::Arc};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};

use super::{
    Handler, Limits,
    at_once::AtOnce,
    stream::{Patience, Phase, Stream},
};

/// Serves `socket` until the client leaves, breaks a limit, is sent away, or `stopped` turns true and the request that runs is
/// answered.
pub(super) async fn serve<H: Handler>(
    socket: TcpStream,
    phase: Arc<Phase>,
    limits: Limits,
    handler: Arc<H>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    // Answers are written in one piece: waiting for more of them only costs 40 ms.
    let _ = socket.set_nodelay(true);
    let patience = Patience { headers: limits.header_timeout, idle: limits.idle_timeout, write: limits.write_stall };
    let stream = Stream::new(socket, Arc::clone(&phase), patience);

    let guest = Arc::clone(&phase);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (handler, phase) = (Arc::clone(&handler), Arc::clone(&phase));
        async move {
            let _busy = phase.busy();
            Ok::<_, Infallible>(handler.answer(request).await)
        }
    });
    let connection = http1::Builder::new()
        // The stream has the clocks: hyper's would be a new timer for every request.
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), service);

    let mut connection = AtOnce::new(connection);
    tokio::select! {
    ended = &mut connection => return ended,
    () = guest.sent_away() => return Ok(()),
    _ = stopped.wait_for(|stopped| *stopped) => connection.inner().graceful_shutdown(),
    }
    connection.await
}
