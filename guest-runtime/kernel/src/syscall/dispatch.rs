//! The calls on files, by number.

use super::call::{Answer, Call};
use super::socket::{message, option};
use super::{
    attributes, control, copy, epoll, list, names, number, open, pipe, poll, socket, status, timerfd, transfer,
};
use crate::errno::Errno;

/// Answers call `number`; `None` if it is not one on files.
pub fn dispatch(number: u64, call: &mut Call<'_>) -> Option<Answer> {
    let handler = handler(number)?;
    call.files.advance_timers(call.environment);
    Some(handler(call))
}

/// Does this outcome of call `number` come with a `SIGPIPE`: was something written that nobody will read?
#[must_use]
pub fn raises_pipe_signal(number: u64, arguments: &[u64; 6], error: Errno) -> bool {
    /// `MSG_NOSIGNAL`.
    const NO_SIGNAL: u64 = 0x4000;
    let flags = match number {
        number::WRITE | number::WRITEV | number::PWRITEV2 | number::SENDFILE | number::SPLICE => 0,
        number::SENDTO | number::SENDMMSG => arguments[3],
        number::SENDMSG => arguments[2],
        _ => return false,
    };
    error == Errno::PIPE && flags & NO_SIGNAL == 0
}

type Handler = fn(&mut Call<'_>) -> Answer;

/// The calls of nearly every program first; the rest by what they are about.
fn handler(number: u64) -> Option<Handler> {
    Some(match number {
        number::READ => transfer::read,
        number::WRITE => transfer::write,
        number::PREAD64 => transfer::pread64,
        number::PWRITE64 => transfer::pwrite64,
        number::READV => transfer::readv,
        number::WRITEV => transfer::writev,
        number::PREADV => transfer::preadv,
        number::PWRITEV => transfer::pwritev,
        number::PREADV2 => transfer::preadv2,
        number::PWRITEV2 => transfer::pwritev2,
        number::LSEEK => copy::lseek,
        number::SENDFILE => copy::sendfile,
        number::COPY_FILE_RANGE => copy::copy_file_range,
        number::OPEN => open::open,
        number::OPENAT => open::openat,
        number::CREAT => open::creat,
        number::MEMFD_CREATE => open::memfd_create,
        number::CLOSE => open::close,
        number::CLOSE_RANGE => open::close_range,
        number::STAT => status::stat,
        number::LSTAT => status::lstat,
        number::FSTAT => status::fstat,
        number::NEWFSTATAT => status::newfstatat,
        number::STATX => status::statx,
        number::STATFS => status::statfs,
        number::FSTATFS => status::fstatfs,
        number::ACCESS => status::access,
        number::FACCESSAT => status::faccessat,
        number::FACCESSAT2 => status::faccessat2,
        number::GETDENTS64 => list::getdents64,
        number::DUP => control::dup,
        number::DUP2 => control::dup2,
        number::DUP3 => control::dup3,
        number::FCNTL => control::fcntl,
        number::IOCTL => control::ioctl,
        _ => return name_handler(number).or_else(|| object_handler(number)),
    })
}

/// Names and attributes.
fn name_handler(number: u64) -> Option<Handler> {
    Some(match number {
        number::GETCWD => names::getcwd,
        number::CHDIR => names::chdir,
        number::FCHDIR => names::fchdir,
        number::MKDIR => names::mkdir,
        number::MKDIRAT => names::mkdirat,
        number::MKNOD => names::mknod,
        number::MKNODAT => names::mknodat,
        number::RMDIR => names::rmdir,
        number::UNLINK => names::unlink,
        number::UNLINKAT => names::unlinkat,
        number::RENAME => names::rename,
        number::RENAMEAT => names::renameat,
        number::RENAMEAT2 => names::renameat2,
        number::LINK => names::link,
        number::LINKAT => names::linkat,
        number::SYMLINK => names::symlink,
        number::SYMLINKAT => names::symlinkat,
        number::READLINK => names::readlink,
        number::READLINKAT => names::readlinkat,
        number::CHMOD => attributes::chmod,
        number::FCHMOD => attributes::fchmod,
        number::FCHMODAT => attributes::fchmodat,
        number::FCHMODAT2 => attributes::fchmodat2,
        number::CHOWN => attributes::chown,
        number::LCHOWN => attributes::lchown,
        number::FCHOWN => attributes::fchown,
        number::FCHOWNAT => attributes::fchownat,
        number::UMASK => attributes::umask,
        number::UTIMENSAT => attributes::utimensat,
        number::UTIME => attributes::utime,
        number::UTIMES => attributes::utimes,
        number::FUTIMESAT => attributes::futimesat,
        number::TRUNCATE => attributes::truncate,
        number::FTRUNCATE => attributes::ftruncate,
        number::FALLOCATE => attributes::fallocate,
        number::FSYNC
        | number::FDATASYNC
        | number::SYNCFS
        | number::SYNC_FILE_RANGE
        | number::FADVISE64
        | number::READAHEAD => attributes::nothing_to_do,
        number::FLOCK => attributes::flock,
        number::SYNC => attributes::sync,
        number::GETXATTR | number::SETXATTR | number::REMOVEXATTR => attributes::no_attribute,
        number::LGETXATTR | number::LSETXATTR | number::LREMOVEXATTR => attributes::no_attribute_of_link,
        number::FGETXATTR | number::FSETXATTR | number::FREMOVEXATTR => attributes::no_attribute_of_open,
        number::LISTXATTR => attributes::empty_list,
        number::LLISTXATTR => attributes::empty_list_of_link,
        number::FLISTXATTR => attributes::empty_list_of_open,
        _ => return None,
    })
}

/// Pipes, sockets, and waiting.
fn object_handler(number: u64) -> Option<Handler> {
    Some(match number {
        number::PIPE => pipe::pipe,
        number::PIPE2 => pipe::pipe2,
        number::EVENTFD => pipe::eventfd,
        number::EVENTFD2 => pipe::eventfd2,
        number::TIMERFD_CREATE => timerfd::timerfd_create,
        number::TIMERFD_SETTIME => timerfd::timerfd_settime,
        number::TIMERFD_GETTIME => timerfd::timerfd_gettime,
        number::POLL => poll::poll,
        number::PPOLL => poll::ppoll,
        number::SELECT => poll::select,
        number::PSELECT6 => poll::pselect6,
        number::EPOLL_CREATE => epoll::epoll_create,
        number::EPOLL_CREATE1 => epoll::epoll_create1,
        number::EPOLL_CTL => epoll::epoll_ctl,
        number::EPOLL_WAIT | number::EPOLL_PWAIT => epoll::epoll_wait,
        number::EPOLL_PWAIT2 => epoll::epoll_pwait2,
        number::SOCKET => socket::socket,
        number::SOCKETPAIR => socket::socketpair,
        number::CONNECT => socket::connect,
        number::BIND => socket::bind,
        number::LISTEN => socket::listen,
        number::ACCEPT => socket::accept,
        number::ACCEPT4 => socket::accept4,
        number::SHUTDOWN => socket::shutdown,
        number::SENDTO => message::sendto,
        number::SENDMSG => message::sendmsg,
        number::SENDMMSG => message::sendmmsg,
        number::RECVFROM => message::recvfrom,
        number::RECVMSG => message::recvmsg,
        number::RECVMMSG => message::recvmmsg,
        number::GETSOCKNAME => socket::getsockname,
        number::GETPEERNAME => socket::getpeername,
        number::SETSOCKOPT => option::setsockopt,
        number::GETSOCKOPT => option::getsockopt,
        _ => return None,
    })
}
