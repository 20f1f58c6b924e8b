//! One HTTP/1.1 connection and the request on it.
//!
//! hyper wants two parties: one that sends, one that drives the socket. Usually the second is a task of its own, which costs two
//! wake-ups per request. Here one task does both, so that a request is written in the very poll in which it is handed over.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};

use crate::endpoint::{Endpoint, Stream};

/// How much is kept of an answer that is not 200. All of it is read.
const KEPT_BYTES: usize = 16 << 10;

type Driver = http1::Connection<Box<dyn Stream>, Full<Bytes>>;

/// A connection that has no request on it.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Its beginning, if it is not 200.
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// Nothing was sent: the server had closed the connection while it was idle. The request can go on another.
    Stale(Box<Request<Full<Bytes>>>),
    /// The request was sent, or some of it.
    Broken(hyper::Error),
}

impl Connection {
    pub(crate) async fn open(endpoint: &Endpoint, address: SocketAddr) -> Result<Connection, String> {
        let stream = endpoint.dial(address).await.map_err(|error| error.to_string())?;
        let (sender, driver) = http1::handshake(stream).await.map_err(|error| error.to_string())?;
        Ok(Connection { sender, driver })
    }

    /// Sends a request and reads its answer. The connection comes back if it can take another.
    pub(crate) async fn exchange(self, request: Request<Full<Bytes>>) -> Result<(Answer, Option<Connection>), Failure> {
        let Connection { mut sender, driver } = self;
        let mut driver = Some(driver);
        let answer = {
            let mut exchange = pin!(exchange(&mut sender, request));
            poll_fn(|context| {
                // First the request is handed over, then it is written, or an answer read; then that is looked at.
                if let Poll::Ready(answer) = exchange.as_mut().poll(context) {
                    return Poll::Ready(answer);
                }
                // A driver that has ended is dropped at once: only that tells the sender, which would wait for it for ever.
                if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(context).is_ready()) {
                    driver = None;
                }
                exchange.as_mut().poll(context)
            })
            .await?
        };
        let driver = driver.filter(|_| !sender.is_closed());
        Ok((answer, driver.map(|driver| Connection { sender, driver })))
    }
}

async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    if sender.ready().await.is_err() {
        return Err(Failure::Stale(Box::new(request)));
    }
    let response = sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
        Some(request) => Failure::Stale(Box::new(request)),
        None => Failure::Broken(error.into_error()),
    })?;
    read(response).await.map_err(Failure::Broken)
}

async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, mut rest) = response.into_parts();
    let mut body = Vec::new();
    while let Some(frame) = rest.frame().await {
        if let Some(data) = frame?.data_ref().filter(|_| head.status != StatusCode::OK) {
            let room = KEPT_BYTES - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body })
}
