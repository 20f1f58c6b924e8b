//! The VM process: one machine, one thread, one socket.
//!
//! It does what the server says, one command at a time, and reports. It ends when the server hangs up, and is killed when its
//! zygote ends. A failure of the host is reported and ends it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use kvm_ioctls::Kvm;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::Pid;
use rustix::time::Timespec;

use super::protocol::{self, Message, WORDS, command, monotonic_ns, report, words};
use super::sandbox;
use crate::error::Error;
use crate::machine::{Host, ImageFile, Machine, Stop, Usage, WorkingSet, faults};
use crate::mailbox::Mailbox;
use crate::snapshot::Snapshot;

/// Runs the VM process to its end.
pub(super) fn main(kvm: Kvm, zygote: Pid, socket: OwnedFd, mailbox: OwnedFd) {
    let outcome = start(kvm, zygote, mailbox).and_then(|machine| {
        say(&socket, report::READY, [0; WORDS], "")?;
        serve(machine, &socket)
    });
    if let Err(error) = outcome {
        // The server may be gone; then nobody is interested.
        let _ = say(&socket, report::FAILED, [0; WORDS], &error.to_string());
    }
}

fn start(kvm: Kvm, zygote: Pid, mailbox: OwnedFd) -> Result<Machine, Error> {
    let host = Host::new(kvm)?;
    let machine = Machine::new(&host, Mailbox::open(mailbox)?)?;
    drop(host);
    sandbox::enter(zygote)?;
    Ok(machine)
}

fn serve(mut machine: Machine, socket: &OwnedFd) -> Result<(), Error> {
    let mut log = Vec::new();
    // Looked at once per command: between commands none are taken.
    let mut faults_before = faults()?;
    // Where to write the guest's working set.
    let mut record: Option<File> = None;
    loop {
        // Not right after the answer: whoever gets it, or wants another, needs the processor. But before memory is put back.
        if record.is_some() && is_idle(socket)? {
            write_working_set(&mut machine, record.take())?;
            faults_before = faults()?;
        }
        let message = protocol::receive(socket.as_fd(), RecvFlags::empty()).map_err(Error::errno("listening"))?;
        let Some(message) = message else { return Ok(()) };
        match message.tag {
            command::BOOT | command::BIND => {
                put_in(&mut machine, message)?;
                say(socket, report::BOUND, [0; WORDS], "")?;
            }
            command::RUN => {
                let received_ns = monotonic_ns();
                let [event_bytes, timeout_ns, sent_ns, ..] = message.words;
                log.clear();
                let (stop, usage) = machine.run(event_bytes, Duration::from_nanos(timeout_ns), &mut log)?;
                let (mut words, text) = stopped(&stop, &usage);
                words[LOG_WORD] = machine.mailbox().put_long_log(&log);
                let faults_after = faults()?;
                words[FAULTS_WORD] = faults_after.saturating_sub(faults_before);
                faults_before = faults_after;
                words[HANDOVER_WORD] = received_ns.saturating_sub(sent_ns);
                say(socket, report::STOPPED, words, text)?;
                // What a run wrote that has ended says little of others.
                let new = message.files.into_iter().next().map(File::from).filter(|_| stop == Stop::Next);
                record = new.or(record);
                continue;
            }
            command::SAVE => {
                let [file] = files(message)?;
                let header = machine.save(&file)?;
                say(socket, report::SAVED, words([header.identity, header.runs]), "")?;
            }
            command::RESET => {
                write_working_set(&mut machine, record.take())?;
                let stats = machine.reset()?;
                let words = words([stats.copied_pages, stats.zeroed_pages, stats.duration_ns]);
                say(socket, report::RESET_DONE, words, "")?;
            }
            command::TRIM => {
                write_working_set(&mut machine, record.take())?;
                let pages = machine.trim()?;
                trim_heap();
                say(socket, report::TRIMMED, words([pages]), "")?;
            }
            _ => return Err(Error::State("unknown command")),
        }
        faults_before = faults()?;
    }
}

/// Gives back what the C library keeps of freed memory: after a bind that is a hundred KiB.
fn trim_heap() {
    #[expect(unsafe_code, reason = "a function of the C library")]
    // SAFETY: it has no precondition, and what is allocated stays where it is. There may be nothing to give.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Whether nobody wants anything for a moment.
fn is_idle(socket: &OwnedFd) -> Result<bool, Error> {
    let events = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&MOMENT));
    match events {
        Ok(events) => Ok(events == 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(Error::errno("listening")(error)),
    }
}

/// A hint for binds that come later.
fn write_working_set(machine: &mut Machine, file: Option<File>) -> Result<(), Error> {
    let Some(mut file) = file else { return Ok(()) };
    file.write_all(&machine.working_set()?.to_bytes()).map_err(Error::host("recording"))
}

/// Words: memory, room in `/tmp`, number of snapshots (0: boot), number of working sets, number of outputs; files: the output, the
/// snapshots, the working set, then the images.
fn put_in(machine: &mut Machine, message: Message) -> Result<(), Error> {
    let [memory_bytes, tmp_bytes, snapshots, working_sets, outputs, ..] = message.words;
    let mut files = message.files.into_iter().map(File::from);
    if let Some(output) = files.by_ref().take(outputs.min(1) as usize).next() {
        machine.write_log_to(output);
    }
    let read = |file| {
        Snapshot::read(file)
            .map_err(Error::host("reading a snapshot"))?
            .map_err(|_| Error::State("a snapshot has changed since the server checked it"))
    };
    let snapshots = files.by_ref().take(snapshots as usize).map(read).collect::<Result<Vec<_>, Error>>()?;
    let working_set = files.by_ref().take(working_sets.min(1) as usize).next().and_then(read_working_set);
    let working_set = working_set.as_ref();
    let images = files.map(ImageFile::from_file).collect::<Result<Vec<_>, Error>>()?;
    let images: Vec<&ImageFile> = images.iter().collect();
    // A guest may have its own copy of the data of libraries in images.
    let image_bytes = images.iter().filter_map(|image| image.file().metadata().ok()).map(|image| image.len());
    let limit_bytes = memory_bytes.saturating_add(image_bytes.sum());
    // A runtime may be followed by a function, with more memory; a function by nothing.
    sandbox::limit_memory(limit_bytes, snapshots.len() == STACK_SNAPSHOTS)?;
    match &snapshots[..] {
        [] => machine.boot(&images, memory_bytes, tmp_bytes),
        [base] => machine.bind(base, None, &images, memory_bytes, tmp_bytes, working_set),
        [base, top] => machine.bind(base, Some(top), &images, memory_bytes, tmp_bytes, working_set),
        _ => Err(Error::State("a stack has two snapshots")),
    }
}

/// A working set is a hint: one that cannot be read is none.
fn read_working_set(mut file: File) -> Option<WorkingSet> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(WORKING_SET_MAX_BYTES).read_to_end(&mut bytes).ok()?;
    WorkingSet::from_bytes(&bytes)
}

fn files<const N: usize>(message: Message) -> Result<[File; N], Error> {
    let files: Vec<File> = message.files.into_iter().map(File::from).collect();
    files.try_into().map_err(|_| Error::State("a command came with the wrong number of files"))
}

/// Time without a command after which a machine is idle.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// A runtime's snapshot, and a function's on top of it.
const STACK_SNAPSHOTS: usize = 2;

/// Largest file of a working set.
const WORKING_SET_MAX_BYTES: u64 = 1 << 20;

/// Word of a STOPPED report with the length of the log that did not fit the mailbox's log area.
pub(super) const LOG_WORD: usize = 6;
/// With the page faults of the run, and with how long its command was on its way.
const FAULTS_WORD: usize = 8;
const HANDOVER_WORD: usize = 9;

/// Kinds of stop as the first word of a report.
pub(super) mod stop {
    pub(crate) const NEXT: u64 = 0;
    pub(crate) const EXITED: u64 = 1;
    pub(crate) const KILLED: u64 = 2;
    pub(crate) const TIMED_OUT: u64 = 3;
    pub(crate) const OUT_OF_MEMORY: u64 = 4;
    pub(crate) const VIOLATION: u64 = 5;
}

fn stopped<'a>(stop: &'a Stop, usage: &Usage) -> ([u64; WORDS], &'a str) {
    let (kind, value, text) = match stop {
        Stop::Next => (stop::NEXT, 0, ""),
        Stop::Exited { status } => (stop::EXITED, u64::from(*status), ""),
        Stop::Killed { signal, diagnosis } => (stop::KILLED, u64::from(*signal), diagnosis.as_str()),
        Stop::TimedOut => (stop::TIMED_OUT, 0, ""),
        Stop::OutOfMemory => (stop::OUT_OF_MEMORY, 0, ""),
        Stop::Violation(what) => (stop::VIOLATION, 0, what.as_str()),
    };
    let Usage { exits, duration_ns, system_calls, memory_peak_bytes, slept_ns, computed_ns } = *usage;
    (words([kind, value, exits, duration_ns, system_calls, memory_peak_bytes, 0, slept_ns, 0, 0, computed_ns]), text)
}

fn say(socket: &OwnedFd, tag: u64, words: [u64; WORDS], text: &str) -> Result<(), Error> {
    protocol::send(socket.as_fd(), tag, words, text, &[]).map_err(Error::errno("reporting"))
}
