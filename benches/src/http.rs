//! A blocking HTTP/1.1 client on one kept-alive connection: one write, and reads until the answer is there.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The path of invocations of a function.
#[must_use]
pub fn invocations(function: &str) -> String {
    format!("/2015-03-31/functions/{function}/invocations")
}

/// Longest answer that is read.
const ANSWER_MAX_BYTES: usize = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(300);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Client { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads its answer: status and body.
    ///
    /// # Errors
    /// If the connection breaks or the answer has no length.
    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request)?;
        self.answer()
    }

    /// A header of the last answer, by its name in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let mut lines = std::str::from_utf8(&self.buffer[..end]).ok()?.lines().skip(1);
        lines
            .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    }

    fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        self.buffer.clear();
        let mut chunk = [0; 16 << 10];
        loop {
            if let Some((status, start, end)) = head(&self.buffer)?
                && self.buffer.len() >= end
            {
                return Ok((status, self.buffer[start..end].to_vec()));
            }
            // A read with a timeout does not go on by itself after the process was stopped or frozen for a moment.
            let bytes = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if bytes == 0 || self.buffer.len() > ANSWER_MAX_BYTES {
                let had = self.buffer.len();
                let why = format!("the connection ended, or the answer is too long, after {had} bytes of it");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            self.buffer.extend_from_slice(&chunk[..bytes]);
        }
    }
}

/// Status, start and end of the body, once the head is complete.
fn head(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid())?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = if status == 204 { 0 } else { length.ok_or_else(invalid)? };
    Ok(Some((status, end + 4, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_complete() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(head(answer).unwrap(), Some((200, 38, 41)));
        assert_eq!(head(&answer[..30]).unwrap(), None);
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
