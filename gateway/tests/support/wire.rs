//! HTTP byte by byte, for tests that need to do it wrong.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A connection.
pub struct Wire {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: &str) -> Wire {
        Wire { socket: TcpStream::connect(address).await.expect("connected"), received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("sent");
    }

    /// Sends, unless the other side has hung up.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    pub async fn post(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(head.as_bytes()).await;
        self.send(body).await;
        self.receive().await.expect("an answer")
    }

    pub async fn post_chunked(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.send(format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
        for chunk in body.chunks(10_000) {
            self.send(format!("{:x}\r\n", chunk.len()).as_bytes()).await;
            self.send(chunk).await;
            self.send(b"\r\n").await;
        }
        self.send(b"0\r\n\r\n").await;
        self.receive().await.expect("an answer")
    }

    pub async fn get(&mut self, path: &str) -> (u16, Vec<u8>) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await;
        self.receive().await.expect("an answer")
    }

    /// Status and body of the next answer; `None` if the connection ends instead. Nothing is lost if it is dropped.
    pub async fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        loop {
            if let Some(answer) = self.take_answer() {
                return Some(answer);
            }
            let mut buffer = [0; 65_536];
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn take_answer(&mut self) -> Option<(u16, Vec<u8>)> {
        let end = self.received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |text| text.trim().parse().expect("a length"));
        if self.received.len() < end + length {
            return None;
        }
        let body = self.received[end..end + length].to_vec();
        self.received.drain(..end + length);
        Some((status, body))
    }

    /// Whether the server hangs up, within five seconds.
    pub async fn is_closed(&mut self) -> bool {
        let end = async {
            let mut buffer = [0; 1024];
            loop {
                match self.socket.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        timeout(Duration::from_secs(5), end).await.is_ok()
    }
}
