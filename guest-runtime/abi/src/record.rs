//! Records of the event device (`/dev/mayfly`), between a program and its kernel.
//!
//! A `read` returns bytes of one record at a time and waits for the next when there is none; a `write` adds bytes to the
//! answer. A record is a [`Header`], then `meta_bytes` of UTF-8 JSON, then `payload_bytes`. The kernel copies records between
//! the program and the mailbox and looks only at the header.

/// Header of a record, little-endian.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// What the record is: one of the constants of this module.
    pub kind: u32,
    /// [`RESTORED`] or 0.
    pub flags: u32,
    /// Length of the JSON that describes the event.
    pub meta_bytes: u32,
    /// Length of the event or answer itself.
    pub payload_bytes: u32,
}

/// Size of a [`Header`].
pub const HEADER_BYTES: usize = 16;

/// Event: load the handler. Meta: `handler`, `environment` and what else stays the same for all invocations.
pub const INIT: u32 = 1;
/// Event: call the handler. Meta: `request_id`, `deadline_ms`, …; payload: the event.
pub const INVOKE: u32 = 2;

/// Answer to [`INIT`]: the handler is loaded.
pub const INIT_OK: u32 = 1;
/// Answer to [`INVOKE`]: the handler's result as JSON.
pub const RESPONSE: u32 = 2;
/// Answer to either: Lambda's error object as JSON.
pub const ERROR: u32 = 3;

/// Flag of an event: memory is a snapshot's, so random generators must be seeded anew before user code runs.
pub const RESTORED: u32 = 1;

impl Header {
    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (slot, word) in bytes.chunks_exact_mut(4).zip([self.kind, self.flags, self.meta_bytes, self.payload_bytes])
        {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The header that `bytes` hold.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Header {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Header { kind: word(0), flags: word(4), meta_bytes: word(8), payload_bytes: word(12) }
    }

    /// Length of the whole record; `None` if no mailbox could hold it.
    #[must_use]
    pub fn record_bytes(self) -> Option<usize> {
        let total = HEADER_BYTES as u64 + u64::from(self.meta_bytes) + u64::from(self.payload_bytes);
        (total <= crate::mailbox::RECORD_MAX_BYTES as u64).then_some(total as usize)
    }
}
