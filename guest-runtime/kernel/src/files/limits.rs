//! Every bound of the file layer, in one place.

/// Longest path that a call may hand over, its terminating zero included (`PATH_MAX`).
pub(crate) const PATH_BYTES_MAX: u64 = 4096;
/// Longest name of one file (`NAME_MAX`).
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Symbolic links followed in one resolution; Linux has the same number.
pub(crate) const LINKS_FOLLOWED_MAX: usize = 40;
/// Deepest directory for which a path is put together (`/proc/self/fd/N`, `getcwd`).
pub(crate) const PATH_DEPTH_MAX: usize = 2048;

/// Open file descriptors (`RLIMIT_NOFILE`).
pub const DESCRIPTORS_MAX: usize = 1024;
/// Longest list of a vectored read or write (`UIO_MAXIOV`).
pub(crate) const SEGMENTS_MAX: u64 = 1024;
/// Most bytes that one read or write transfers; what Linux calls `MAX_RW_COUNT`.
pub(crate) const TRANSFER_BYTES_MAX: u64 = 0x7fff_f000;

/// Room in a pipe.
pub(crate) const PIPE_BYTES: usize = 64 << 10;
/// Most that a program can make of it (`/proc/sys/fs/pipe-max-size`).
pub(crate) const PIPE_BYTES_MAX: usize = 1 << 20;
/// A write up to this length into a pipe is never split (`PIPE_BUF`).
pub(crate) const PIPE_ATOMIC_BYTES: usize = 4096;

/// Sockets, with those of connections that nobody has accepted yet.
pub(crate) const SOCKETS_MAX: usize = 4 * DESCRIPTORS_MAX;
/// Most connections that wait for `accept`, whatever `listen` asks for (`/proc/sys/net/core/somaxconn`).
pub(crate) const BACKLOG_MAX: u32 = 1024;
/// Room in each direction of a stream, and for the datagrams of a socket. Linux's default for both buffers.
pub(crate) const SOCKET_BYTES: usize = 208 << 10;
/// Longest datagram on the internet families, and on `AF_UNIX`.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 65_507;
pub(crate) const LOCAL_DATAGRAM_BYTES_MAX: usize = SOCKET_BYTES - 32;
/// What a datagram counts for besides its length: it bounds the number of empty ones.
pub(crate) const DATAGRAM_COST_BYTES: usize = 512;
/// Descriptors in one message (`SCM_MAX_FD`), and in all that nobody has received yet.
pub(crate) const RIGHTS_MAX: usize = 253;
pub(crate) const RIGHTS_IN_FLIGHT_MAX: usize = DESCRIPTORS_MAX;
/// Ports that the kernel hands out (`/proc/sys/net/ipv4/ip_local_port_range`).
pub(crate) const EPHEMERAL_PORTS: core::ops::RangeInclusive<u16> = 32_768..=60_999;
/// Longest address that a call may hand over (`struct sockaddr_storage`).
pub(crate) const ADDRESS_BYTES_MAX: u64 = 128;
/// Longest path in an address of `AF_UNIX`.
pub(crate) const LOCAL_PATH_BYTES_MAX: usize = 108;
/// Longest ancillary data of one message.
pub(crate) const CONTROL_BYTES_MAX: u64 = 4096;

/// Descriptors watched by one epoll descriptor.
pub(crate) const INTERESTS_MAX: usize = 4 * DESCRIPTORS_MAX;

/// Page of a file in `/tmp`.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Largest offset in a file in `/tmp`. Holes cost nothing, so this is far beyond any limit on memory.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 43;
/// Bytes of a write to `/tmp` for which memory is asked for at once.
pub(crate) const RESERVE_BYTES: usize = 256 << 10;
/// What a file, directory or link in `/tmp` counts for, besides its content: it bounds their number.
pub(crate) const NODE_BYTES: u64 = 256;
/// What a name in `/tmp` counts for, besides its length.
pub(crate) const NAME_BYTES: u64 = 64;
/// Hard links to one file in `/tmp`.
pub(crate) const HARD_LINKS_MAX: u32 = 32_000;
