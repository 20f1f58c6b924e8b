//! The event device: a byte stream of records, read and written whole.
//!
//! A record is a header of four little-endian `u32` (kind, flags, length of meta, length of payload), then meta (JSON),
//! then payload. The kernel returns no more than one record per `read`, and at most as much as fits.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::FileTypeExt, unix::net::UnixStream},
    path::Path,
};

const HEADER_BYTES: usize = 16;
/// What is offered to a `read` at first, and kept between events. Most events fit.
const BUFFER_BYTES: usize = 64 << 10;
/// No event is larger: 6 MB is the most a caller may send, and meta is small.
const RECORD_BYTES_MAX: usize = 16 << 20;
/// [`Header::flags`]: memory was restored from a snapshot since the last event.
const FLAG_RESTORED: u32 = 1;

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// Import this function.
    Init,
    /// Call its handler.
    Invoke,
}

/// What an answer says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnswerKind {
    /// The function is imported. No payload.
    InitOk = 1,
    /// The payload is what the handler returned.
    Response = 2,
    /// The payload is an error object, of INIT or of an invocation.
    Error = 3,
}

/// An event, as long as the next one has not been read.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) kind: EventKind,
    /// Memory was restored since the last event: whatever must differ between clones is due to be renewed.
    pub(crate) is_restored: bool,
    pub(crate) meta: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// The event device, or a Unix socket in its place.
pub(crate) struct EventDevice {
    file: File,
    event: Vec<u8>,
    answer: Vec<u8>,
}

impl EventDevice {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = if path.metadata()?.file_type().is_socket() {
            File::from(OwnedFd::from(UnixStream::connect(path)?))
        } else {
            File::options().read(true).write(true).open(path)?
        };
        let answer = vec![0; HEADER_BYTES];
        Ok(Self { file, event: vec![0; BUFFER_BYTES], answer })
    }

    /// Waits for the next event. `None`: there will be no more.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event<'_>>> {
        if self.event.len() > BUFFER_BYTES {
            self.event.truncate(BUFFER_BYTES);
            self.event.shrink_to_fit();
        }
        let mut filled = 0;
        let mut wanted = HEADER_BYTES;
        while filled < wanted {
            let count = match self.file.read(&mut self.event[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
            };
            filled += count;
            if wanted == HEADER_BYTES && filled >= HEADER_BYTES {
                wanted = Header::parse(&self.event)?.record_bytes()?;
                if wanted > self.event.len() {
                    self.event.resize(wanted, 0);
                }
            }
        }
        let header = Header::parse(&self.event)?;
        let (meta, payload) = self.event[HEADER_BYTES..wanted].split_at(header.meta_bytes);
        Ok(Some(Event { kind: header.kind, is_restored: header.flags & FLAG_RESTORED != 0, meta, payload }))
    }

    /// The payload of the next answer, to be filled. Empty at first; what is before it in the buffer is the header.
    pub(crate) fn take_answer(&mut self) -> Answer {
        let mut record = std::mem::take(&mut self.answer);
        record.truncate(HEADER_BYTES);
        Answer { record }
    }

    /// Sends an answer, in one `write` where the kernel takes it whole.
    pub(crate) fn send(&mut self, kind: AnswerKind, answer: Answer) -> io::Result<()> {
        let mut record = answer.record;
        let payload_bytes = u32::try_from(record.len() - HEADER_BYTES).map_err(|_| io::ErrorKind::InvalidInput)?;
        for (i, field) in [kind as u32, 0, 0, payload_bytes].into_iter().enumerate() {
            record[i * 4..][..4].copy_from_slice(&field.to_le_bytes());
        }
        self.file.write_all(&record)?;
        if record.capacity() > BUFFER_BYTES {
            record.truncate(HEADER_BYTES);
            record.shrink_to(BUFFER_BYTES);
        }
        self.answer = record;
        Ok(())
    }
}

/// An answer being written. Its memory is the device's, used again for every answer.
pub(crate) struct Answer {
    record: Vec<u8>,
}

impl Answer {
    /// Where the payload goes. Only ever append.
    pub(crate) fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.record
    }

    /// Forgets what was written so far.
    pub(crate) fn clear(&mut self) {
        self.record.truncate(HEADER_BYTES);
    }
}

struct Header {
    kind: EventKind,
    flags: u32,
    meta_bytes: usize,
    payload_bytes: usize,
}

impl Header {
    fn parse(record: &[u8]) -> io::Result<Self> {
        let field = |i: usize| {
            let bytes = record.get(i * 4..i * 4 + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or_else(|| invalid("event header cut short"))
        };
        let kind = match field(0)? {
            1 => EventKind::Init,
            2 => EventKind::Invoke,
            _ => return Err(invalid("unknown kind of event")),
        };
        Ok(Self { kind, flags: field(1)?, meta_bytes: field(2)? as usize, payload_bytes: field(3)? as usize })
    }

    fn record_bytes(&self) -> io::Result<usize> {
        let bytes = HEADER_BYTES + self.meta_bytes + self.payload_bytes;
        if bytes > RECORD_BYTES_MAX { Err(invalid("event too large")) } else { Ok(bytes) }
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
