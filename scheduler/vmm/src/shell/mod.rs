//! VM processes as the server sees them.
//!
//! ```text
//!  server ──spawn──► zygote ──fork──► VM process
//!     │                                   ▲
//!     └──── Shell: commands, reports ─────┘      mailbox: shared memory
//! ```

mod process;
mod protocol;
mod sandbox;
mod zygote;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::RecvFlags;

use crate::error::Error;
use crate::machine::{ImageFile, ResetStats, Stop, Usage};
use crate::mailbox::{Answer, BadAnswer, Mailbox};
use crate::snapshot::Snapshot;
use process::{LOG_WORD, stop};
use protocol::{Message, WORDS, command, monotonic_ns, report, words};

pub use zygote::{Zygote, zygote_main};

/// What a VM process can be told.
#[derive(Debug)]
pub enum Command<'a> {
    /// Load a fresh guest that starts a program.
    Boot {
        /// Its file trees.
        images: &'a [&'a ImageFile],
        /// Path of the program, in an image, and its arguments.
        arguments: &'a [&'a str],
        /// Its environment.
        environment: &'a [&'a str],
        /// Its memory.
        memory_bytes: u64,
        /// Room in `/tmp`.
        tmp_bytes: u64,
        /// Where its log is written as it comes. What is left at the end of a run comes with the report.
        output: Option<&'a File>,
    },
    /// Put snapshots in: both into a shell, or the upper one over the lower one, once that has run and been reset.
    Bind {
        /// The runtime snapshot.
        base: &'a Snapshot,
        /// The function snapshot on top of it.
        top: Option<&'a Snapshot>,
        /// What an earlier instance of the same snapshots touched first (see `Run::record`), to be brought in at once.
        working_set: Option<&'a File>,
        /// The images with which they were made.
        images: &'a [&'a ImageFile],
        /// Memory of the guest.
        memory_bytes: u64,
        /// Room in `/tmp`.
        tmp_bytes: u64,
    },
    /// Run until the guest waits again.
    Run {
        /// What it finds as its next event.
        event: Option<Event<'a>>,
        /// How long at most.
        timeout: Duration,
        /// An empty file for the working set of this run, written after it is reported; useful for the first run of a snapshot.
        record: Option<&'a File>,
    },
    /// Write a snapshot of the waiting guest.
    Save {
        /// An empty file.
        to: &'a File,
    },
    /// Make the guest that waits, or whose program has ended, the snapshot again.
    Reset,
    /// Give back what the waiting guest has copies of for nothing.
    Trim,
}

/// An event, as the guest's program reads it.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Kind as in `mayfly_abi::record`.
    pub kind: u32,
    /// JSON about it.
    pub meta: &'a [u8],
    /// The event itself.
    pub payload: &'a [u8],
}

/// What a VM process says.
#[derive(Debug)]
pub enum Report {
    /// The VM exists: this is a shell now.
    Ready,
    /// A guest is in it.
    Bound,
    /// A run is over.
    Stopped(Stopped),
    /// The snapshot is on disk.
    Saved {
        /// Its identity.
        identity: u64,
    },
    /// The guest is the snapshot again.
    ResetDone(ResetStats),
    /// Copies of so many pages were given back.
    Trimmed {
        /// How many.
        pages: u64,
    },
    /// The host refused something; the process has ended.
    Failed(String),
}

/// The end of a run.
#[derive(Debug)]
pub struct Stopped {
    /// Why, and with that what the machine can do next.
    pub stop: Stop,
    /// What the guest answered; meaningful after `Next`.
    pub answer: Result<Answer, BadAnswer>,
    /// What it logged.
    pub log: Vec<u8>,
    /// What it cost.
    pub usage: Usage,
    /// Page faults that the VM process took for it, those of the vCPU among them.
    pub faults: u64,
    /// From the beginning of [`Shell::send`] until the VM process had the command, as it says: no less trustworthy than the rest.
    pub handover_ns: u64,
}

/// A VM process. Killed when dropped.
pub struct Shell {
    socket: OwnedFd,
    process: OwnedFd,
    pid: u32,
    mailbox: Mailbox,
}

impl Shell {
    fn new(socket: OwnedFd, process: OwnedFd, pid: u32, mailbox: Mailbox) -> Result<Shell, Error> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(Error::errno("preparing a socket"))?;
        Ok(Shell { socket, process, pid, mailbox })
    }

    /// Number of the process, for logs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells the process what to do next. It must have reported on the command before.
    ///
    /// # Errors
    /// If it is gone, or the event is larger than a mailbox.
    pub fn send(&mut self, command: Command<'_>) -> Result<(), Error> {
        match command {
            Command::Boot { images, arguments, environment, memory_bytes, tmp_bytes, output } => {
                self.mailbox.put_start(arguments, environment)?;
                let mut files: Vec<_> = output.iter().map(|file| file.as_fd()).collect();
                let words = words([memory_bytes, tmp_bytes, 0, 0, files.len() as u64]);
                files.extend(images.iter().map(|image| image.file().as_fd()));
                self.say(command::BOOT, words, &files)
            }
            Command::Bind { base, top, working_set, images, memory_bytes, tmp_bytes } => {
                let snapshots = [Some(base), top];
                let mut files: Vec<_> = snapshots.iter().flatten().map(|snapshot| snapshot.file.as_fd()).collect();
                let words = words([memory_bytes, tmp_bytes, files.len() as u64, working_set.iter().len() as u64]);
                files.extend(working_set.map(AsFd::as_fd));
                files.extend(images.iter().map(|image| image.file().as_fd()));
                self.say(command::BIND, words, &files)
            }
            Command::Run { event, timeout, record } => {
                let begun_ns = monotonic_ns();
                let event_bytes =
                    event.map_or(Ok(0), |event| self.mailbox.put_event(event.kind, 0, event.meta, event.payload))?;
                let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                let record: Vec<_> = record.iter().map(|file| file.as_fd()).collect();
                self.say(command::RUN, words([event_bytes, timeout_ns, begun_ns]), &record)
            }
            Command::Save { to } => self.say(command::SAVE, [0; WORDS], &[to.as_fd()]),
            Command::Reset => self.say(command::RESET, [0; WORDS], &[]),
            Command::Trim => self.say(command::TRIM, [0; WORDS], &[]),
        }
    }

    /// Takes a report, if there is one. Never waits.
    ///
    /// # Errors
    /// If the process is gone or says something that makes no sense; then the shell is of no more use.
    pub fn receive(&mut self) -> Result<Option<Report>, Error> {
        match protocol::receive(self.socket.as_fd(), RecvFlags::DONTWAIT) {
            Ok(Some(message)) => self.report(message).map(Some),
            Ok(None) | Err(rustix::io::Errno::CONNRESET) => Err(Error::Gone("it has ended".into())),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(Error::Gone(error.to_string())),
        }
    }

    fn report(&self, message: Message) -> Result<Report, Error> {
        let [first, second, third, fourth, fifth, sixth, _, eighth, faults, handover_ns, computed_ns] = message.words;
        Ok(match message.tag {
            report::READY => Report::Ready,
            report::BOUND => Report::Bound,
            report::STOPPED => {
                let usage = Usage {
                    exits: third,
                    duration_ns: fourth,
                    system_calls: fifth,
                    memory_peak_bytes: sixth,
                    slept_ns: eighth,
                    computed_ns,
                };
                let stop = stop_of(first, second, message.text)?;
                let mut log = self.mailbox.long_log(message.words[LOG_WORD]);
                log.append(&mut self.mailbox.take_log());
                Report::Stopped(Stopped { stop, answer: self.mailbox.answer(), log, usage, faults, handover_ns })
            }
            report::SAVED => Report::Saved { identity: first },
            report::RESET_DONE => {
                Report::ResetDone(ResetStats { copied_pages: first, zeroed_pages: second, duration_ns: third })
            }
            report::TRIMMED => Report::Trimmed { pages: first },
            report::FAILED => Report::Failed(message.text),
            _ => return Err(Error::Gone("it said something unknown".into())),
        })
    }

    fn say(&self, tag: u64, words: [u64; WORDS], files: &[BorrowedFd<'_>]) -> Result<(), Error> {
        protocol::send(self.socket.as_fd(), tag, words, "", files).map_err(|error| Error::Gone(error.to_string()))
    }
}

impl AsFd for Shell {
    /// Readable when a report waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::os::fd::AsRawFd for Shell {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = rustix::process::pidfd_send_signal(&self.process, rustix::process::Signal::KILL);
    }
}

fn stop_of(kind: u64, value: u64, text: String) -> Result<Stop, Error> {
    Ok(match kind {
        stop::NEXT => Stop::Next,
        stop::EXITED => Stop::Exited { status: value as u8 },
        stop::KILLED => Stop::Killed { signal: value as u8, diagnosis: text },
        stop::TIMED_OUT => Stop::TimedOut,
        stop::OUT_OF_MEMORY => Stop::OutOfMemory,
        stop::VIOLATION => Stop::Violation(text),
        _ => return Err(Error::Gone("it stopped for an unknown reason".into())),
    })
}
