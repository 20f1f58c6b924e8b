//! The mailbox as the host sees it: memory that a guest may change at any moment.
//!
//! Everything is copied out once and checked; nothing here hands out a reference into it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use mayfly_abi::mailbox::{
    ANSWER, BYTES, Control, EVENT, GuestWords, HostWords, LOG, LOG_BYTES, RECORD_MAX_BYTES, START_STRINGS_BYTES,
    StartWords,
};
use mayfly_abi::record::{HEADER_BYTES, Header};
use rustix::fs::{FallocateFlags, MemfdFlags};
use vm_memory::{ByteValued, Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileSlice};

use crate::error::Error;

const HOST_WORDS: usize = std::mem::offset_of!(Control, host);
const GUEST_WORDS: usize = std::mem::offset_of!(Control, guest);
const PAGE: usize = 4096;

/// The guest's words, as bytes that anybody may have written.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct RawGuestWords(GuestWords);
#[repr(transparent)]
#[derive(Clone, Copy)]
struct RawHostWords(HostWords);

#[expect(unsafe_code, reason = "plain data from shared memory")]
// SAFETY: integers and arrays of integers in `repr(C)` without padding: any bytes are a value.
unsafe impl ByteValued for RawGuestWords {}
#[expect(unsafe_code, reason = "plain data from shared memory")]
// SAFETY: as above.
unsafe impl ByteValued for RawHostWords {}

/// An answer of a guest, checked for length only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Kind as in `mayfly_abi::record`.
    pub kind: u32,
    /// The answer.
    pub payload: Vec<u8>,
}

/// Why what a guest left in its mailbox is not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// There is none.
    #[error("the guest asked for its next event without an answer")]
    Missing,
    /// Lengths do not fit the mailbox or each other.
    #[error("the guest's answer has impossible lengths")]
    Lengths,
}

/// A mailbox, mapped.
pub struct Mailbox {
    file: OwnedFd,
    region: MmapRegion,
}

impl Mailbox {
    /// A new, empty mailbox.
    ///
    /// # Errors
    /// If the host has no memory files.
    pub fn new() -> Result<Mailbox, Error> {
        let file = rustix::fs::memfd_create("mayfly-mailbox", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(Error::errno("making a mailbox"))?;
        rustix::fs::ftruncate(&file, BYTES).map_err(Error::errno("sizing a mailbox"))?;
        // The other side must not be able to shrink it under us.
        let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals).map_err(Error::errno("sealing a mailbox"))?;
        Mailbox::open(file)
    }

    /// A mailbox that was made elsewhere.
    ///
    /// # Errors
    /// If it cannot be mapped.
    pub fn open(file: OwnedFd) -> Result<Mailbox, Error> {
        let shared = File::from(file.try_clone().map_err(Error::host("sharing a mailbox"))?);
        let region = MmapRegion::from_file(FileOffset::new(shared, 0), BYTES as usize)
            .map_err(|_| Error::State("the mailbox cannot be mapped"))?;
        Ok(Mailbox { file, region })
    }

    /// The memory file.
    #[must_use]
    pub fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(crate) fn host_address(&self) -> u64 {
        self.region.as_ptr() as u64
    }

    /// Puts a record where the guest finds its event; returns the record's length.
    ///
    /// # Errors
    /// If it is larger than a mailbox.
    pub fn put_event(&self, kind: u32, flags: u32, meta: &[u8], payload: &[u8]) -> Result<u64, Error> {
        let lengths = u32::try_from(meta.len()).ok().zip(u32::try_from(payload.len()).ok());
        let header = lengths.map(|(meta_bytes, payload_bytes)| Header { kind, flags, meta_bytes, payload_bytes });
        let total = header.and_then(Header::record_bytes).ok_or(Error::State("the event is larger than a mailbox"))?;
        let mut at = EVENT as usize;
        for part in [&header.unwrap_or_default().to_bytes()[..], meta, payload] {
            self.bytes(at, part.len()).copy_from(part);
            at += part.len();
        }
        Ok(total as u64)
    }

    /// The flags word of the event's header.
    pub(crate) fn set_event_flags(&self, flags: u32) {
        self.bytes(EVENT as usize + 4, 4).copy_from(&flags.to_le_bytes());
    }

    /// Copies the answer out.
    ///
    /// # Errors
    /// If there is none, or its lengths are impossible.
    pub fn answer(&self) -> Result<Answer, BadAnswer> {
        let bytes = self.guest_words().answer_bytes;
        if bytes == 0 {
            return Err(BadAnswer::Missing);
        }
        if bytes < HEADER_BYTES as u64 || bytes > RECORD_MAX_BYTES as u64 {
            return Err(BadAnswer::Lengths);
        }
        let mut header = [0; HEADER_BYTES];
        self.bytes(ANSWER as usize, HEADER_BYTES).copy_to(&mut header);
        let header = Header::from_bytes(header);
        if header.record_bytes() != Some(bytes as usize) {
            return Err(BadAnswer::Lengths);
        }
        let mut payload = vec![0; header.payload_bytes as usize];
        self.bytes(ANSWER as usize + HEADER_BYTES + header.meta_bytes as usize, payload.len()).copy_to(&mut payload);
        Ok(Answer { kind: header.kind, payload })
    }

    /// Copies the log lines out and empties the area.
    #[must_use]
    pub fn take_log(&self) -> Vec<u8> {
        let mut log = vec![0; self.guest_words().log_bytes.min(LOG_BYTES) as usize];
        self.bytes(LOG as usize, log.len()).copy_to(&mut log);
        self.set_guest_word(std::mem::offset_of!(GuestWords, log_bytes), 0);
        log
    }

    /// Puts log lines that the log area had no room for where the event was; for the server, once the guest has stopped.
    /// Returns how many bytes.
    pub(crate) fn put_long_log(&self, log: &[u8]) -> u64 {
        let log = &log[..log.len().min(RECORD_MAX_BYTES)];
        self.bytes(EVENT as usize, log.len()).copy_from(log);
        log.len() as u64
    }

    /// The log lines that `put_long_log` left.
    pub(crate) fn long_log(&self, bytes: u64) -> Vec<u8> {
        let mut log = vec![0; bytes.min(RECORD_MAX_BYTES as u64) as usize];
        self.bytes(EVENT as usize, log.len()).copy_to(&mut log);
        log
    }

    /// Says what a fresh guest shall start.
    ///
    /// # Errors
    /// If the strings do not fit.
    pub fn put_start(&self, arguments: &[&str], environment: &[&str]) -> Result<(), Error> {
        let mut start = StartWords {
            arguments: arguments.len() as u32,
            environment: environment.len() as u32,
            strings_bytes: 0,
            reserved: 0,
            strings: [0; START_STRINGS_BYTES],
        };
        let mut at = 0;
        for text in arguments.iter().chain(environment) {
            let end = at + text.len() + 1;
            if end > START_STRINGS_BYTES || text.contains('\0') {
                return Err(Error::State("arguments and environment of the program do not fit"));
            }
            start.strings[at..end - 1].copy_from_slice(text.as_bytes());
            at = end;
        }
        start.strings_bytes = at as u32;
        let mut words = self.host_words();
        words.start = start;
        self.set_host_words(&words);
        Ok(())
    }

    /// One copy of the guest's words.
    #[must_use]
    pub fn guest_words(&self) -> GuestWords {
        self.region.as_volatile_slice().read_obj::<RawGuestWords>(GUEST_WORDS).map_or(ZERO_GUEST_WORDS, |words| words.0)
    }

    pub(crate) fn host_words(&self) -> HostWords {
        self.region.as_volatile_slice().read_obj::<RawHostWords>(HOST_WORDS).map_or(ZERO_HOST_WORDS, |words| words.0)
    }

    pub(crate) fn set_host_words(&self, words: &HostWords) {
        let written = self.region.as_volatile_slice().write_obj(RawHostWords(*words), HOST_WORDS);
        debug_assert!(written.is_ok(), "the control page is part of the mailbox");
    }

    /// Writes one word of the host part.
    pub(crate) fn set_host_word(&self, offset: usize, value: u64) {
        self.bytes(HOST_WORDS + offset, 8).copy_from(&value.to_le_bytes());
    }

    /// Writes one word of the guest part.
    pub(crate) fn set_guest_word(&self, offset: usize, value: u64) {
        self.bytes(GUEST_WORDS + offset, 8).copy_from(&value.to_le_bytes());
    }

    /// Removes everything that a guest may have left: a small invocation touches the first page of each area, and only those
    /// are kept (a page that stays need not fault again); whatever else was written goes back to the host.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let areas = [(0, LOG), (LOG, EVENT), (EVENT, ANSWER), (ANSWER, BYTES)];
        for (start, end) in areas {
            let kept = start + PAGE as u64;
            if kept < end && self.has_data(kept, end)? {
                rustix::fs::fallocate(
                    &self.file,
                    FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    kept,
                    end - kept,
                )
                .map_err(Error::errno("clearing a mailbox"))?;
            }
        }
        let zeros = [0; PAGE];
        for (start, _) in areas {
            self.bytes(start as usize, PAGE).copy_from(&zeros);
        }
        Ok(())
    }

    /// Whether any page from `start` to `end` exists.
    fn has_data(&self, start: u64, end: u64) -> Result<bool, Error> {
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(start)) {
            Ok(at) => Ok(at < end),
            Err(rustix::io::Errno::NXIO) => Ok(false),
            Err(error) => Err(Error::errno("looking at a mailbox")(error)),
        }
    }

    fn bytes(&self, at: usize, bytes: usize) -> VolatileSlice<'_> {
        self.region
            .get_slice(at, bytes)
            .expect("callers stay inside of the mailbox: constants and lengths that were checked")
    }
}

const ZERO_GUEST_WORDS: GuestWords = GuestWords {
    seeded_generation: 0,
    answer_bytes: 0,
    log_bytes: 0,
    wake_ns: 0,
    exit_status: 0,
    memory_refused: 0,
    memory_peak_bytes: 0,
    wants_ticks: 0,
    system_calls: 0,
    copied_bytes: 0,
    last_words: mayfly_abi::mailbox::LastWords {
        vector: 0,
        error_code: 0,
        in_kernel: 0,
        rip: 0,
        rsp: 0,
        rflags: 0,
        registers: [0; 15],
        message_bytes: 0,
        message: [0; 128],
    },
};

const ZERO_HOST_WORDS: HostWords = HostWords {
    abi_version: 0,
    images: 0,
    memory_bytes: 0,
    tmp_bytes: 0,
    generation: 0,
    seed: [0; 32],
    tsc: 0,
    ns_per_tick_q32: 0,
    realtime_ns: 0,
    monotonic_ns: 0,
    event_bytes: 0,
    xcr0: 0,
    ticks: 0,
    interrupted: mayfly_abi::mailbox::Interrupted { rip: 0, rsp: 0, rflags: 0 },
    fault_address: 0,
    image_bytes: [0; mayfly_abi::layout::IMAGES_MAX],
    images_in_place: 0,
    start: StartWords {
        arguments: 0,
        environment: 0,
        strings_bytes: 0,
        reserved: 0,
        strings: [0; START_STRINGS_BYTES],
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    fn with_answer(header: Header, answer_bytes: u64) -> Mailbox {
        let mailbox = Mailbox::new().unwrap();
        mailbox.bytes(ANSWER as usize, HEADER_BYTES).copy_from(&header.to_bytes());
        mailbox.set_guest_word(std::mem::offset_of!(GuestWords, answer_bytes), answer_bytes);
        mailbox
    }

    #[test]
    fn impossible_answers_are_refused() {
        let header = |meta_bytes, payload_bytes| Header { kind: 2, flags: 0, meta_bytes, payload_bytes };
        for (header, bytes) in [
            (header(0, 4), 16),
            (header(0, 4), 21),
            (header(u32::MAX, u32::MAX), 20),
            (header(u32::MAX, 21), 20),
            (header(0, 0), 15),
            (header(0, RECORD_MAX_BYTES as u32), RECORD_MAX_BYTES as u64 + 16),
            (header(0, 4), u64::MAX),
        ] {
            assert_eq!(with_answer(header, bytes).answer(), Err(BadAnswer::Lengths), "{header:?} {bytes}");
        }
        assert_eq!(with_answer(header(0, 0), 0).answer(), Err(BadAnswer::Missing));
        assert_eq!(with_answer(header(0, 4), 20).answer().unwrap().payload, [0; 4]);
    }

    #[test]
    fn nothing_is_left_after_clearing() {
        let mailbox = Mailbox::new().unwrap();
        for at in [8, 5000, EVENT as usize + 70_000, ANSWER as usize + 1, BYTES as usize - 1] {
            mailbox.bytes(at, 1).copy_from(&[7]);
        }
        mailbox.clear().unwrap();
        let mut all = vec![1_u8; BYTES as usize];
        mailbox.bytes(0, BYTES as usize).copy_to(&mut all);
        assert_eq!(all.iter().position(|&byte| byte != 0), None);
    }
}
