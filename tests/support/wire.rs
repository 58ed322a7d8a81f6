//! One connection, plain or TLS, with buffered reading of HTTP heads and bodies.
//!
//! Promises: reads are bounded; what can't be read is an `io::Error`, never a panic.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: usize = 64 << 20;

/// The bytes below HTTP.
pub enum Wire {
    Plain(TcpStream),
    ServerTls(Box<StreamOwned<ServerConnection, TcpStream>>),
    ClientTls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(socket) => socket,
            Wire::ServerTls(stream) => &stream.sock,
            Wire::ClientTls(stream) => &stream.sock,
        }
    }

    /// Ends TLS as the protocol asks; a wire that is only dropped ends as a crash does.
    pub fn end_politely(&mut self) {
        if let Wire::ServerTls(stream) = self {
            stream.conn.send_close_notify();
            // The peer may be gone already; there is nobody left to tell.
            let _ = stream.flush();
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::ServerTls(stream) => stream.read(buffer),
            Wire::ClientTls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::ServerTls(stream) => stream.write(bytes),
            Wire::ClientTls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::ServerTls(stream) => stream.flush(),
            Wire::ClientTls(stream) => stream.flush(),
        }
    }
}

/// A wire with what was read ahead of it.
pub struct Reader {
    pub wire: Wire,
    buffer: Vec<u8>,
    start: usize,
}

/// The first line and the headers of a message.
pub struct Head {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

impl Reader {
    pub fn new(wire: Wire) -> Reader {
        Reader { wire, buffer: Vec::with_capacity(64 << 10), start: 0 }
    }

    /// Bytes read ahead and not used: a tunnel must pass them on.
    pub fn into_parts(self) -> (Wire, Vec<u8>) {
        let rest = self.buffer[self.start..].to_vec();
        (self.wire, rest)
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let old = self.buffer.len();
        self.buffer.resize(old + (64 << 10), 0);
        let read = self.wire.read(&mut self.buffer[old..]);
        self.buffer.truncate(old + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Waits for the first byte of the next message. `false`: the peer has closed.
    pub fn wait_for_more(&mut self) -> io::Result<bool> {
        Ok(self.start < self.buffer.len() || self.fill()? > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut looked_at = 0;
        loop {
            let ahead = &self.buffer[self.start..];
            if let Some(end) = ahead[looked_at..].iter().position(|byte| *byte == b'\n') {
                let line = &ahead[..looked_at + end];
                let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
                let text = text.into_owned();
                self.start += looked_at + end + 1;
                return Ok(text);
            }
            looked_at = ahead.len();
            if looked_at > HEAD_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub fn head(&mut self) -> io::Result<Head> {
        let first_line = self.line()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Head { first_line, headers });
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.trim().to_string(), value.trim().to_string()));
        }
    }

    fn exactly(&mut self, count: usize, out: &mut Vec<u8>) -> io::Result<()> {
        if out.len() + count > BODY_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let ahead = (self.buffer.len() - self.start).min(count);
        out.extend_from_slice(&self.buffer[self.start..self.start + ahead]);
        self.start += ahead;
        let old = out.len();
        let missing = count - ahead;
        out.reserve(missing);
        let read = (&mut self.wire).take(missing as u64).read_to_end(out)?;
        if read < missing {
            out.truncate(old + read);
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The body that a head announces, put behind what `out` holds. What came before an error
    /// stays in `out`.
    pub fn body(&mut self, head: &Head, out: &mut Vec<u8>) -> io::Result<()> {
        let chunked = head.header("transfer-encoding").is_some_and(|v| v.contains("chunked"));
        if !chunked {
            let length = head.header("content-length").map_or(Ok(0), str::parse::<usize>);
            return self.exactly(length.map_err(|_| io::ErrorKind::InvalidData)?, out);
        }
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(());
            }
            self.exactly(size, out)?;
            self.line()?;
        }
    }
}
