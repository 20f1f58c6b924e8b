//! What server, zygote and VM process say to each other: small fixed messages over a SEQPACKET socket, files beside them.
//!
//! Words are little-endian. A message is its tag and up to [`WORDS`] words, then up to [`TEXT_BYTES`] bytes of text. Both sides are the same
//! binary, but the server treats what a VM process says as it treats a file: lengths and tags are checked.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::time::{ClockId, Timespec};

/// Words in a message.
pub(crate) const WORDS: usize = 11;
/// Largest text of a message.
pub(crate) const TEXT_BYTES: usize = 2048;
/// Largest number of files beside a message.
pub(crate) const FILES_MAX: usize = mayfly_abi::layout::IMAGES_MAX + 3;

const HEAD_BYTES: usize = 8 + WORDS * 8;

/// A message.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) tag: u64,
    pub(crate) words: [u64; WORDS],
    pub(crate) text: String,
    pub(crate) files: Vec<OwnedFd>,
}

/// Tags from server to VM process.
pub(crate) mod command {
    pub(crate) const BOOT: u64 = 1;
    pub(crate) const BIND: u64 = 2;
    pub(crate) const RUN: u64 = 3;
    pub(crate) const SAVE: u64 = 4;
    pub(crate) const RESET: u64 = 5;
    pub(crate) const TRIM: u64 = 7;
    /// To the zygote.
    pub(crate) const SPAWN: u64 = 6;
}

/// Tags from VM process (and zygote) to server.
pub(crate) mod report {
    pub(crate) const READY: u64 = 101;
    pub(crate) const BOUND: u64 = 102;
    pub(crate) const STOPPED: u64 = 103;
    pub(crate) const SAVED: u64 = 104;
    pub(crate) const RESET_DONE: u64 = 105;
    pub(crate) const FAILED: u64 = 106;
    pub(crate) const TRIMMED: u64 = 108;
    /// From the zygote.
    pub(crate) const SPAWNED: u64 = 107;
}

/// The first words of a message; the others are 0.
pub(crate) fn words<const N: usize>(first: [u64; N]) -> [u64; WORDS] {
    const { assert!(N <= WORDS) };
    let mut words = [0; WORDS];
    words[..N].copy_from_slice(&first);
    words
}

/// The clock that both sides read, so that one can say how long a message was on its way to it.
pub(crate) fn monotonic_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = rustix::time::clock_gettime(ClockId::Monotonic);
    tv_sec as u64 * 1_000_000_000 + tv_nsec as u64
}

/// Sends a message with files.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    tag: u64,
    words: [u64; WORDS],
    text: &str,
    files: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut head = [0; HEAD_BYTES];
    for (slot, word) in head.chunks_exact_mut(8).zip(std::iter::once(tag).chain(words)) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    let text = &text.as_bytes()[..text.len().min(TEXT_BYTES)];
    let parts = [IoSlice::new(&head), IoSlice::new(text)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::TOOBIG);
    }
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)).map(|_| ())
}

/// Takes a message; `None` if the other side has hung up.
pub(crate) fn receive(socket: BorrowedFd<'_>, flags: RecvFlags) -> rustix::io::Result<Option<Message>> {
    let mut bytes = [0; HEAD_BYTES + TEXT_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    if got == 0 {
        return Ok(None);
    }
    if got < HEAD_BYTES {
        return Err(Errno::PROTO);
    }
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_le_bytes(word)
    };
    let mut message = Message { tag: word(0), ..Message::default() };
    for (index, slot) in message.words.iter_mut().enumerate() {
        *slot = word(index + 1);
    }
    message.text = String::from_utf8_lossy(&bytes[HEAD_BYTES..got]).into_owned();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = part {
            message.files.extend(files);
        }
    }
    Ok(Some(message))
}
