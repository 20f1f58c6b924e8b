//! The content of one entry, believed only as far as it proves itself.

use std::io::{self, Read, Write};

use flate2::{Crc, bufread::DeflateDecoder};

use super::directory::{Method, Raw};

const BUFFER_BYTES: usize = 64 << 10;

/// Writes the content of `raw` to `to`: exactly as many bytes as its directory entry claims, with the checksum that it claims.
pub(super) fn inflate(package: &[u8], raw: &Raw, to: &mut dyn Write) -> io::Result<()> {
    let data = &package[raw.data.clone()];
    match raw.method {
        Method::Stored => copy(data, raw, to),
        Method::Deflated => {
            let mut decoder = DeflateDecoder::new(data);
            copy(&mut decoder, raw, to)?;
            if decoder.total_in() != data.len() as u64 {
                return Err(invalid("something follows the compressed data"));
            }
            Ok(())
        }
    }
}

fn copy(mut from: impl Read, raw: &Raw, to: &mut dyn Write) -> io::Result<()> {
    let mut crc = Crc::new();
    let mut left = raw.unzipped_bytes;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or_else(|| invalid("more than the directory says"))?;
        crc.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
    if left > 0 {
        return Err(invalid("less than the directory says"));
    }
    if crc.sum() != raw.crc {
        return Err(invalid("wrong checksum"));
    }
    Ok(())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
