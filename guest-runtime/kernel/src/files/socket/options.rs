//! Options of sockets (`setsockopt`): remembered as on Linux, and without effect where there is nothing to have one on.

use alloc::vec::Vec;

use super::{DATAGRAM, Header, Socket, UDP_LITE, UNIX};
use crate::errno::Errno;

/// Levels.
pub(crate) const SOCKET_LEVEL: u32 = 1;
const IPV4_LEVEL: u32 = 0;
const TCP_LEVEL: u32 = 6;
pub(crate) const IPV6_LEVEL: u32 = 41;
const UDP_LITE_LEVEL: u32 = UDP_LITE;

const REUSE_ADDRESS: u32 = 2;
const URGENT_INLINE: u32 = 10;
const REUSE_PORT: u32 = 15;
const IPV6_ONLY: u32 = 26;

/// How a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// On or off.
    Flag,
    Number,
    /// A size of a buffer: Linux keeps twice what it is told, and at least so much.
    Buffer {
        least: u32,
    },
}

/// An option with a value of 32 bits: level, name, default, rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Option32(u32, u32, u32, Rule);

/// `SO_PASSCRED`.
pub(crate) const PASS_CREDENTIALS: Option32 = Option32(SOCKET_LEVEL, 16, 0, Rule::Flag);

/// `IPV6_UNICAST_HOPS`, `IPV6_TCLASS`, and the options to be told of both with each message.
const HOPS: Option32 = Option32(IPV6_LEVEL, 16, 64, Rule::Number);
const TRAFFIC_CLASS: Option32 = Option32(IPV6_LEVEL, 67, 0, Rule::Number);
pub(crate) const RECEIVE_HOP_LIMIT: Option32 = Option32(IPV6_LEVEL, 51, 0, Rule::Flag);
pub(crate) const RECEIVE_TRAFFIC_CLASS: Option32 = Option32(IPV6_LEVEL, 66, 0, Rule::Flag);

const KNOWN: &[Option32] = &[
    Option32(SOCKET_LEVEL, 1, 0, Rule::Flag), // SO_DEBUG
    Option32(SOCKET_LEVEL, REUSE_ADDRESS, 0, Rule::Flag),
    Option32(SOCKET_LEVEL, 5, 0, Rule::Flag), // SO_DONTROUTE
    Option32(SOCKET_LEVEL, 6, 0, Rule::Flag), // SO_BROADCAST
    Option32(SOCKET_LEVEL, 7, 212_992, Rule::Buffer { least: 4608 }), // SO_SNDBUF
    Option32(SOCKET_LEVEL, 8, 212_992, Rule::Buffer { least: 2304 }), // SO_RCVBUF
    Option32(SOCKET_LEVEL, 9, 0, Rule::Flag), // SO_KEEPALIVE
    Option32(SOCKET_LEVEL, URGENT_INLINE, 0, Rule::Flag),
    Option32(SOCKET_LEVEL, 12, 0, Rule::Number), // SO_PRIORITY
    Option32(SOCKET_LEVEL, REUSE_PORT, 0, Rule::Flag),
    PASS_CREDENTIALS,
    Option32(SOCKET_LEVEL, 18, 1, Rule::Number), // SO_RCVLOWAT
    Option32(SOCKET_LEVEL, 29, 0, Rule::Flag),   // SO_TIMESTAMP
    Option32(SOCKET_LEVEL, 35, 0, Rule::Flag),   // SO_TIMESTAMPNS
    Option32(SOCKET_LEVEL, 36, 0, Rule::Number), // SO_MARK
    Option32(SOCKET_LEVEL, 40, 0, Rule::Flag),   // SO_RXQ_OVFL
    Option32(SOCKET_LEVEL, 46, 0, Rule::Number), // SO_BUSY_POLL
    Option32(SOCKET_LEVEL, 49, 0, Rule::Number), // SO_INCOMING_CPU
    Option32(IPV4_LEVEL, 1, 0, Rule::Number),    // IP_TOS
    Option32(IPV4_LEVEL, 2, 64, Rule::Number),   // IP_TTL
    Option32(IPV4_LEVEL, 8, 0, Rule::Flag),      // IP_PKTINFO
    Option32(IPV4_LEVEL, 10, 1, Rule::Number),   // IP_MTU_DISCOVER
    Option32(IPV4_LEVEL, 11, 0, Rule::Flag),     // IP_RECVERR
    Option32(IPV4_LEVEL, 12, 0, Rule::Flag),     // IP_RECVTTL
    Option32(IPV4_LEVEL, 13, 0, Rule::Flag),     // IP_RECVTOS
    Option32(IPV4_LEVEL, 15, 0, Rule::Flag),     // IP_FREEBIND
    Option32(IPV4_LEVEL, 19, 0, Rule::Flag),     // IP_TRANSPARENT
    Option32(IPV4_LEVEL, 24, 0, Rule::Flag),     // IP_BIND_ADDRESS_NO_PORT
    Option32(IPV4_LEVEL, 33, 1, Rule::Number),   // IP_MULTICAST_TTL
    Option32(IPV4_LEVEL, 34, 1, Rule::Number),   // IP_MULTICAST_LOOP
    Option32(TCP_LEVEL, 1, 0, Rule::Flag),       // TCP_NODELAY
    Option32(TCP_LEVEL, 2, 536, Rule::Number),   // TCP_MAXSEG
    Option32(TCP_LEVEL, 3, 0, Rule::Flag),       // TCP_CORK
    Option32(TCP_LEVEL, 4, 7200, Rule::Number),  // TCP_KEEPIDLE
    Option32(TCP_LEVEL, 5, 75, Rule::Number),    // TCP_KEEPINTVL
    Option32(TCP_LEVEL, 6, 9, Rule::Number),     // TCP_KEEPCNT
    Option32(TCP_LEVEL, 7, 6, Rule::Number),     // TCP_SYNCNT
    Option32(TCP_LEVEL, 8, 60, Rule::Number),    // TCP_LINGER2
    Option32(TCP_LEVEL, 9, 0, Rule::Number),     // TCP_DEFER_ACCEPT
    Option32(TCP_LEVEL, 10, 0, Rule::Number),    // TCP_WINDOW_CLAMP
    Option32(TCP_LEVEL, 12, 1, Rule::Flag),      // TCP_QUICKACK
    Option32(TCP_LEVEL, 18, 0, Rule::Number),    // TCP_USER_TIMEOUT
    Option32(TCP_LEVEL, 23, 0, Rule::Number),    // TCP_FASTOPEN
    Option32(TCP_LEVEL, 25, 0, Rule::Number),    // TCP_NOTSENT_LOWAT
    HOPS,
    Option32(IPV6_LEVEL, 17, 0, Rule::Number), // IPV6_MULTICAST_IF
    Option32(IPV6_LEVEL, 18, 1, Rule::Number), // IPV6_MULTICAST_HOPS
    Option32(IPV6_LEVEL, 19, 1, Rule::Flag),   // IPV6_MULTICAST_LOOP
    Option32(IPV6_LEVEL, 23, 1, Rule::Number), // IPV6_MTU_DISCOVER
    Option32(IPV6_LEVEL, IPV6_ONLY, 0, Rule::Flag),
    Option32(IPV6_LEVEL, 49, 0, Rule::Flag), // IPV6_RECVPKTINFO
    RECEIVE_HOP_LIMIT,
    Option32(IPV6_LEVEL, 53, 0, Rule::Flag), // IPV6_RECVHOPOPTS
    Option32(IPV6_LEVEL, 56, 0, Rule::Flag), // IPV6_RECVRTHDR
    Option32(IPV6_LEVEL, 58, 0, Rule::Flag), // IPV6_RECVDSTOPTS
    Option32(IPV6_LEVEL, 62, 0, Rule::Flag), // IPV6_DONTFRAG
    RECEIVE_TRAFFIC_CLASS,
    TRAFFIC_CLASS,
    Option32(UDP_LITE_LEVEL, 10, 0, Rule::Number), // UDPLITE_SEND_CSCOV
    Option32(UDP_LITE_LEVEL, 11, 0, Rule::Number), // UDPLITE_RECV_CSCOV
];

/// The options of one socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Those that differ from their default; never more than there are known ones.
    values: Vec<(u32, u32, u32)>,
    /// `SO_LINGER`: on or off, and seconds.
    pub(crate) linger: (u32, u32),
    /// `SO_RCVTIMEO` and `SO_SNDTIMEO`; 0: none.
    pub(crate) receive_timeout_ns: u64,
    pub(crate) send_timeout_ns: u64,
}

impl Options {
    pub(crate) fn get(&self, option: Option32) -> u32 {
        self.value(option.0, option.1).unwrap_or(option.2)
    }

    pub(crate) fn set(&mut self, Option32(level, name, _, rule): Option32, value: u32) {
        let value = match rule {
            Rule::Flag => u32::from(value != 0),
            Rule::Number => value,
            Rule::Buffer { least } => value.min(MAX_BUFFER_BYTES).saturating_mul(2).max(least),
        };
        match self.values.iter_mut().find(|kept| (kept.0, kept.1) == (level, name)) {
            Some(kept) => kept.2 = value,
            None => self.values.push((level, name, value)),
        }
    }

    /// The header of what is sent with these options.
    pub(crate) fn header(&self) -> Header {
        Header { hop_limit: self.get(HOPS) as u8, traffic_class: self.get(TRAFFIC_CLASS) as u8 }
    }

    fn value(&self, level: u32, name: u32) -> Option<u32> {
        Some(self.values.iter().find(|kept| (kept.0, kept.1) == (level, name))?.2)
    }

    pub(super) fn reuses_address(&self) -> bool {
        self.value(SOCKET_LEVEL, REUSE_ADDRESS) == Some(1)
    }

    pub(super) fn reuses_port(&self) -> bool {
        self.value(SOCKET_LEVEL, REUSE_PORT) == Some(1)
    }

    pub(super) fn takes_urgent_inline(&self) -> bool {
        self.value(SOCKET_LEVEL, URGENT_INLINE) == Some(1)
    }

    pub(super) fn is_ipv6_only(&self) -> bool {
        self.value(IPV6_LEVEL, IPV6_ONLY) == Some(1)
    }

    /// Closing throws away what was not sent, and says so to the other end.
    pub(super) fn lingers_not(&self) -> bool {
        self.linger.0 != 0 && self.linger.1 == 0
    }
}

/// `net.core.wmem_max`.
const MAX_BUFFER_BYTES: u32 = 212_992;

impl Socket {
    /// The option of that name, if this socket has it.
    pub(crate) fn option(&self, level: u32, name: u32) -> Result<Option32, Errno> {
        match level {
            SOCKET_LEVEL => {}
            _ if self.family == UNIX => return Err(Errno::OPNOTSUPP),
            TCP_LEVEL if self.kind == DATAGRAM => return Err(Errno::NOPROTOOPT),
            UDP_LITE_LEVEL if self.protocol != UDP_LITE => return Err(Errno::NOPROTOOPT),
            _ => {}
        }
        let found = KNOWN.iter().find(|option| (option.0, option.1) == (level, name));
        found.copied().ok_or(Errno::NOPROTOOPT)
    }
}
