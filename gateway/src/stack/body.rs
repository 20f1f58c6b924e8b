//! Reading a body: bounded in size, in pace, and in the memory that all bodies together may take.

use std::{pin::pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::server::Limits;

/// Why there is no body.
#[derive(Debug)]
pub enum BodyError {
    /// It is larger than it may be. Its size, as far as it is known.
    TooLarge {
        /// Bytes announced or seen.
        bytes: u64,
    },
    /// It came too slowly.
    TooSlow,
    /// The client left, or does not speak HTTP.
    Broken(hyper::Error),
    /// All clients together send more than there is memory for.
    NoMemory,
}

/// Memory is taken in steps of this.
const STEP_BYTES: usize = 256 << 10;

/// Memory that is given back when this is dropped.
pub type Memory = Option<OwnedSemaphorePermit>;

/// Reads `body`, of at most `bytes_max`.
///
/// # Errors
/// See [`BodyError`].
pub async fn read(
    mut body: Incoming,
    limits: &Limits,
    memory: &Arc<Semaphore>,
    bytes_max: usize,
) -> Result<(Bytes, Memory), BodyError> {
    if body.is_end_stream() {
        return Ok((Bytes::new(), None));
    }
    let announced = body.size_hint().exact();
    if let Some(bytes) = announced.filter(|bytes| *bytes > bytes_max as u64) {
        drain(body, limits, 0).await;
        return Err(BodyError::TooLarge { bytes });
    }

    let mut pace = Pace::new(limits);
    let mut held = Held { memory, permit: None, covered: limits.body_small_bytes };
    let Some(first) = pace.next(&mut body).await? else { return Ok((Bytes::new(), None)) };
    if body.is_end_stream() && first.len() <= bytes_max {
        // The usual case, an event in one piece: no copy.
        return Ok((first, None));
    }
    // Address space, not memory: what is not written is not there. What is written was sent, and is counted.
    let mut whole = BytesMut::with_capacity(announced.map_or(first.len() * 2, |bytes| bytes as usize));
    let mut next = Some(first);
    while let Some(data) = next {
        let bytes = whole.len() + data.len();
        if bytes > bytes_max {
            drop((whole, held));
            return Err(BodyError::TooLarge { bytes: bytes as u64 + drain(body, limits, bytes as u64).await });
        }
        held.cover(bytes)?;
        whole.extend_from_slice(&data);
        next = pace.next(&mut body).await?;
    }
    Ok((whole.freeze(), held.permit))
}

/// Reads `body` at its pace, and keeps nothing of it.
///
/// # Errors
/// See [`BodyError`].
pub async fn discard(mut body: Incoming, limits: &Limits) -> Result<(), BodyError> {
    let mut pace = Pace::new(limits);
    while pace.next(&mut body).await?.is_some() {}
    Ok(())
}

/// What a body has taken of the memory for all bodies. It grows with what was received, never with what was announced:
/// to take memory from others, a client has to fill it.
struct Held<'a> {
    memory: &'a Arc<Semaphore>,
    permit: Memory,
    covered: usize,
}

impl Held<'_> {
    fn cover(&mut self, bytes: usize) -> Result<(), BodyError> {
        if bytes <= self.covered {
            return Ok(());
        }
        let steps = (bytes - self.covered).div_ceil(STEP_BYTES);
        let kib = u32::try_from(steps * STEP_BYTES / 1024).map_err(|_| BodyError::NoMemory)?;
        let more = Arc::clone(self.memory).try_acquire_many_owned(kib).map_err(|_| BodyError::NoMemory)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        self.covered += steps * STEP_BYTES;
        Ok(())
    }
}

/// How much a body must have brought by when: in every window of [`Limits::body_grace`] at least the least rate's
/// worth, or its end. An average over all of it would let a client that began fast pause for minutes.
struct Pace<'a> {
    window_begun: Instant,
    window_bytes: u64,
    limits: &'a Limits,
}

impl<'a> Pace<'a> {
    fn new(limits: &'a Limits) -> Pace<'a> {
        Pace { window_begun: Instant::now(), window_bytes: 0, limits }
    }

    /// The next piece, or `None` at the end.
    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
        let grace = self.limits.body_grace;
        let enough = u64::from(self.limits.body_bytes_per_second) * grace.as_millis() as u64 / 1000;
        if self.window_bytes >= enough {
            (self.window_begun, self.window_bytes) = (Instant::now(), 0);
        }
        loop {
            match timeout_at(self.window_begun + grace, body.frame()).await {
                Err(_) => return Err(BodyError::TooSlow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(BodyError::Broken(error)),
                // Trailers say nothing to us.
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.window_bytes += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Reads on and throws away, within bounds; says how much it was. Without this a client that is still sending finds its
/// connection reset and never reads the answer that says why.
async fn drain(body: Incoming, limits: &Limits, already: u64) -> u64 {
    let mut body = pin!(body);
    let mut drained = 0;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            drained += frame.data_ref().map_or(0, |data| data.len() as u64);
            if already + drained > limits.drain_bytes {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(limits.drain_timeout, all).await;
    drained
}
