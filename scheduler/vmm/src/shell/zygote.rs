//! The zygote: a small process that does nothing but fork VM processes. The server itself never forks: it has threads, and
//! memory that a child should not see.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use kvm_ioctls::Kvm;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::protocol::{self, WORDS, command, report};
use super::{Shell, process};
use crate::error::Error;
use crate::mailbox::Mailbox;

/// The server's side.
pub struct Zygote {
    /// One request at a time.
    socket: Mutex<OwnedFd>,
    child: Child,
}

impl Zygote {
    /// Starts `program argument`, which must call [`zygote_main`] before it does anything else.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(program: &Path, argument: impl AsRef<OsStr>) -> Result<Zygote, Error> {
        let (ours, theirs) = socket_pair()?;
        let child = Command::new(program)
            .arg(argument)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(Error::host("starting the zygote"))?;
        Ok(Zygote { socket: Mutex::new(ours), child })
    }

    /// Number of its process. What is set for that now (processors, cgroup) is so for the VM processes to come.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Forks a VM process. It takes well under a millisecond and blocks; the process then makes its VM and reports `Ready`.
    ///
    /// # Errors
    /// [`Error::ZygoteEnded`] if it has; otherwise if it cannot fork.
    pub fn spawn(&self) -> Result<Shell, Error> {
        let mailbox = Mailbox::new()?;
        let (ours, theirs) = socket_pair()?;
        let socket =
            self.socket.lock().map_err(|_| Error::Gone("another thread failed while it spoke to the zygote".into()))?;
        protocol::send(socket.as_fd(), command::SPAWN, [0; WORDS], "", &[theirs.as_fd(), mailbox.file()])
            .map_err(ended_or("asking the zygote"))?;
        let answer =
            protocol::receive(socket.as_fd(), RecvFlags::empty()).map_err(ended_or("hearing from the zygote"))?;
        let Some(mut message) = answer else { return Err(Error::ZygoteEnded) };
        let pidfd = message.files.pop();
        match (message.tag, pidfd) {
            (report::SPAWNED, Some(pidfd)) => Shell::new(ours, pidfd, message.words[0] as u32, mailbox),
            _ => Err(Error::Gone(message.text)),
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // Its VM processes die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an error on its socket says about the zygote.
fn ended_or(doing: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| match errno {
        Errno::PIPE | Errno::CONNRESET => Error::ZygoteEnded,
        other => Error::errno(doing)(other),
    }
}

fn socket_pair() -> Result<(OwnedFd, OwnedFd), Error> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(Error::errno("making a socket pair"))
}

/// The zygote process: forks a VM process per request that arrives on standard input, and ends when the server hangs up.
///
/// Must be called in a process with one thread.
#[must_use]
pub fn zygote_main() -> std::process::ExitCode {
    match serve() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mayfly zygote: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    close_inherited();
    let kvm = Kvm::new().map_err(Error::kvm("opening /dev/kvm"))?;
    let socket = take_standard_input()?;
    ignore_children();
    while let Some(message) =
        protocol::receive(socket.as_fd(), RecvFlags::empty()).map_err(Error::errno("listening"))?
    {
        let Ok([shell, mailbox]) = <[OwnedFd; 2]>::try_from(message.files) else { continue };
        let parent = rustix::process::getpid();
        #[expect(unsafe_code, reason = "fork")]
        // SAFETY: this process has one thread, so the child's memory is in a consistent state.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            drop(socket);
            process::main(kvm, parent, shell, mailbox);
            #[expect(unsafe_code, reason = "_exit")]
            // SAFETY: ends the process without running the zygote's exit handlers.
            unsafe {
                libc::_exit(0)
            }
        }
        announce(&socket, pid)?;
    }
    Ok(())
}

fn announce(socket: &OwnedFd, pid: i32) -> Result<(), Error> {
    let child = rustix::process::Pid::from_raw(pid)
        .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    let said = match (&child, pid) {
        (Some(child), 1..) => {
            protocol::send(socket.as_fd(), report::SPAWNED, protocol::words([pid as u64]), "", &[child.as_fd()])
        }
        _ => {
            let problem = std::io::Error::last_os_error().to_string();
            protocol::send(
                socket.as_fd(),
                report::FAILED,
                [0; WORDS],
                &format!("the zygote cannot fork: {problem}"),
                &[],
            )
        }
    };
    said.map_err(Error::errno("answering the server"))
}

/// Whatever else the server's own parent left open is nothing for a VM process. Nothing has been opened here yet.
fn close_inherited() {
    const FIRST: libc::c_uint = 3;
    #[expect(unsafe_code, reason = "closing descriptors that nobody here owns")]
    // SAFETY: called before this process opens anything, so no value of ours owns a descriptor from `FIRST` on.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    // Linux has had it since 5.9, and it cannot fail with these arguments.
    debug_assert_eq!(closed, 0);
}

/// The socket comes as standard input; afterwards that is `/dev/null`, so that no child inherits it under that number.
fn take_standard_input() -> Result<OwnedFd, Error> {
    let stdin = std::io::stdin();
    let socket = stdin.as_fd().try_clone_to_owned().map_err(Error::host("taking the socket"))?;
    let null = File::open("/dev/null").map_err(Error::host("opening /dev/null"))?;
    #[expect(unsafe_code, reason = "dup2 onto standard input")]
    // SAFETY: descriptor 0 is replaced for the whole process, which has one thread and reads nothing from it.
    let replaced = unsafe {
        let mut stdin = OwnedFd::from_raw_fd(0);
        let replaced = rustix::io::dup2(&null, &mut stdin);
        std::mem::forget(stdin);
        replaced
    };
    replaced.map_err(Error::errno("replacing standard input"))?;
    debug_assert!(socket.as_raw_fd() > 2);
    Ok(socket)
}

/// Children are not waited for: the server watches them through their pidfds.
fn ignore_children() {
    #[expect(unsafe_code, reason = "signal disposition")]
    // SAFETY: SIG_IGN is a valid disposition; nothing in this process waits for children.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    }
}
