//! Linux error numbers, as system calls return them.

/// A Linux error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u16);

/// What a system call returns: a value, or an error number (returned to the program as its negative).
pub type Outcome = Result<u64, Errno>;

macro_rules! numbers {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: Errno = Errno($number);)*
    };
}

impl Errno {
    numbers! {
        PERM = 1, "Operation not permitted.";
        NOENT = 2, "No such file or directory.";
        SRCH = 3, "No such process.";
        INTR = 4, "Interrupted system call.";
        IO = 5, "Input/output error.";
        NXIO = 6, "No such device or address.";
        TOOBIG = 7, "Argument list too long.";
        NOEXEC = 8, "Exec format error.";
        BADF = 9, "Bad file descriptor.";
        CHILD = 10, "No child processes.";
        AGAIN = 11, "Resource temporarily unavailable.";
        NOMEM = 12, "Cannot allocate memory.";
        ACCES = 13, "Permission denied.";
        FAULT = 14, "Bad address.";
        BUSY = 16, "Device or resource busy.";
        EXIST = 17, "File exists.";
        XDEV = 18, "Invalid cross-device link.";
        NODEV = 19, "No such device.";
        NOTDIR = 20, "Not a directory.";
        ISDIR = 21, "Is a directory.";
        INVAL = 22, "Invalid argument.";
        NFILE = 23, "Too many open files in system.";
        MFILE = 24, "Too many open files.";
        NOTTY = 25, "Inappropriate ioctl for device.";
        FBIG = 27, "File too large.";
        NOSPC = 28, "No space left on device.";
        SPIPE = 29, "Illegal seek.";
        ROFS = 30, "Read-only file system.";
        MLINK = 31, "Too many links.";
        PIPE = 32, "Broken pipe.";
        RANGE = 34, "Numerical result out of range.";
        DEADLK = 35, "Resource deadlock avoided.";
        NAMETOOLONG = 36, "File name too long.";
        NOSYS = 38, "Function not implemented.";
        NOTEMPTY = 39, "Directory not empty.";
        LOOP = 40, "Too many levels of symbolic links.";
        NODATA = 61, "No data available.";
        OVERFLOW = 75, "Value too large for defined data type.";
        NOTSOCK = 88, "Socket operation on non-socket.";
        DESTADDRREQ = 89, "Destination address required.";
        MSGSIZE = 90, "Message too long.";
        NOPROTOOPT = 92, "Protocol not available.";
        PROTONOSUPPORT = 93, "Protocol not supported.";
        SOCKTNOSUPPORT = 94, "Socket type not supported.";
        OPNOTSUPP = 95, "Operation not supported.";
        AFNOSUPPORT = 97, "Address family not supported by protocol.";
        ADDRINUSE = 98, "Address already in use.";
        ADDRNOTAVAIL = 99, "Cannot assign requested address.";
        NETUNREACH = 101, "Network is unreachable.";
        CONNRESET = 104, "Connection reset by peer.";
        NOBUFS = 105, "No buffer space available.";
        ISCONN = 106, "Transport endpoint is already connected.";
        NOTCONN = 107, "Transport endpoint is not connected.";
        TOOMANYREFS = 109, "Too many references: cannot splice.";
        TIMEDOUT = 110, "Connection timed out.";
        CONNREFUSED = 111, "Connection refused.";
        ALREADY = 114, "Operation already in progress.";
        INPROGRESS = 115, "Operation now in progress.";
    }
}
