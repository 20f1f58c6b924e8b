//! Addresses of sockets, and their form in the program's memory (`struct sockaddr`).

use alloc::vec::Vec;

use super::{INTERNET, INTERNET_6, UNIX};
use crate::errno::Errno;
use crate::files::limits::LOCAL_PATH_BYTES_MAX;

/// `AF_UNSPEC`.
const UNSPECIFIED: u16 = 0;
const IPV4_BYTES: usize = 16;
const IPV6_BYTES: usize = 28;

/// An address and port of the internet families. One form for both: IPv4 is what IPv6 has as its mapped range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    ip: u128,
    pub(crate) port: u16,
}

/// `::ffff:0:0`.
const MAPPED: u128 = 0xffff << 32;

impl Endpoint {
    /// 127.0.0.1, or `::1`.
    pub(crate) const fn loopback(is_ipv4: bool, port: u16) -> Endpoint {
        Endpoint { ip: if is_ipv4 { MAPPED | 0x7f00_0001 } else { 1 }, port }
    }

    /// 0.0.0.0, or `::`.
    pub(crate) const fn any(is_ipv4: bool) -> Endpoint {
        Endpoint { ip: if is_ipv4 { MAPPED } else { 0 }, port: 0 }
    }

    pub(crate) const fn with_port(self, port: u16) -> Endpoint {
        Endpoint { port, ..self }
    }

    pub(crate) fn is_ipv4(self) -> bool {
        self.ip >> 32 == MAPPED >> 32
    }

    pub(crate) fn is_any(self) -> bool {
        self.ip == 0 || self.ip == MAPPED
    }

    /// `::`, which stands for the addresses of both families.
    pub(crate) fn is_any_ipv6(self) -> bool {
        self.ip == 0
    }

    /// Is it one of this machine, which has no other network than itself?
    pub(crate) fn is_local(self) -> bool {
        self.is_any() || self.ip == 1 || (self.is_ipv4() && (self.ip as u32) >> 24 == 127)
    }

    /// Where a packet to this address goes: "any" means this machine. `None`: there is no way.
    pub(crate) fn destination(self) -> Option<Endpoint> {
        match self {
            _ if self.is_any() => Some(Endpoint::loopback(self.is_ipv4(), self.port)),
            _ if self.is_local() => Some(self),
            _ => None,
        }
    }

    /// The address that a packet to `self` comes from if its sender has not chosen one.
    pub(crate) fn source(self, port: u16) -> Endpoint {
        Endpoint::loopback(self.is_ipv4(), port)
    }
}

/// An address of any family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Address {
    /// None: a socket that was not bound or connected.
    #[default]
    None,
    Internet(Endpoint),
    /// A path, as the program gave it.
    Path(Vec<u8>),
    /// A name of `AF_UNIX` that is no path.
    Abstract(Vec<u8>),
}

impl Address {
    /// The address in `bytes` for a socket of that family. `None` for `AF_UNSPEC`.
    pub(crate) fn parse(family: u32, bytes: &[u8]) -> Result<Option<Address>, Errno> {
        let given = u16::from_le_bytes(*bytes.first_chunk().ok_or(Errno::INVAL)?);
        match family {
            UNIX if u32::from(given) == UNIX => parse_local(&bytes[2..]).map(Some),
            UNIX => Err(Errno::INVAL),
            _ if given == UNSPECIFIED => Ok(None),
            INTERNET if bytes.len() < IPV4_BYTES => Err(Errno::INVAL),
            INTERNET_6 if u32::from(given) == INTERNET_6 && bytes.len() < IPV6_BYTES - 4 => Err(Errno::INVAL),
            _ if u32::from(given) != family => Err(Errno::AFNOSUPPORT),
            _ => {
                let port = u16::from_be_bytes([bytes[2], bytes[3]]);
                let ip = match family {
                    INTERNET => MAPPED | u128::from(u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
                    _ => bytes[8..].first_chunk().map_or(0, |ip| u128::from_be_bytes(*ip)),
                };
                Ok(Some(Address::Internet(Endpoint { ip, port })))
            }
        }
    }

    /// The bytes of this address for a socket of that family.
    pub(crate) fn to_bytes(&self, family: u32) -> Vec<u8> {
        let mut bytes = (family as u16).to_le_bytes().to_vec();
        match self {
            Address::None if family == UNIX => {}
            Address::None => put_endpoint(&mut bytes, family, Endpoint::any(family == INTERNET)),
            Address::Internet(endpoint) => put_endpoint(&mut bytes, family, *endpoint),
            Address::Path(path) => {
                bytes.extend_from_slice(path);
                bytes.push(0);
            }
            Address::Abstract(name) => {
                bytes.push(0);
                bytes.extend_from_slice(name);
            }
        }
        bytes
    }

    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Address::Internet(endpoint) => Some(*endpoint),
            _ => None,
        }
    }
}

fn put_endpoint(bytes: &mut Vec<u8>, family: u32, endpoint: Endpoint) {
    bytes.extend_from_slice(&endpoint.port.to_be_bytes());
    if family == INTERNET {
        bytes.extend_from_slice(&(endpoint.ip as u32).to_be_bytes());
        bytes.resize(IPV4_BYTES, 0);
    } else {
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&endpoint.ip.to_be_bytes());
        bytes.resize(IPV6_BYTES, 0);
    }
}

fn parse_local(name: &[u8]) -> Result<Address, Errno> {
    match name {
        _ if name.len() > LOCAL_PATH_BYTES_MAX => Err(Errno::INVAL),
        [] => Ok(Address::None),
        // All of an abstract name counts, zeros included.
        [0, name @ ..] => Ok(Address::Abstract(name.to_vec())),
        _ => Ok(Address::Path(name.split(|byte| *byte == 0).next().unwrap_or(name).to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_their_bytes() {
        for (family, bytes) in [
            (INTERNET, [2, 0, 0x1f, 0x90, 127, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0].to_vec()),
            (INTERNET_6, [&[10, 0, 0x1f, 0x90, 0, 0, 0, 0][..], &1_u128.to_be_bytes(), &[0; 4]].concat()),
            (UNIX, b"\x01\0/tmp/socket\0".to_vec()),
            (UNIX, b"\x01\0\0name\0x".to_vec()),
            (UNIX, b"\x01\0".to_vec()),
        ] {
            let address = Address::parse(family, &bytes).expect("an address").expect("a family");
            assert_eq!(address.to_bytes(family), bytes);
        }
    }

    #[test]
    fn only_this_machine_can_be_reached() {
        let of = |ip: u128| Endpoint { ip, port: 1 };
        for (ip, expected) in [
            (MAPPED | 0x7f12_3456, Some(MAPPED | 0x7f12_3456)),
            (MAPPED, Some(MAPPED | 0x7f00_0001)),
            (0, Some(1)),
            (1, Some(1)),
            (2, None),
            (MAPPED | 0x0a00_0001, None),
            (0xfe80 << 112 | 1, None),
        ] {
            assert_eq!(of(ip).destination(), expected.map(of), "{ip:x}");
        }
    }
}
