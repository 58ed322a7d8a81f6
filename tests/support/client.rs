//! A raw HTTP client for the tests of the servers themselves.
//!
//! Promises: sends exactly what it is told, follows nothing, and tells a cut answer from a whole one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::http::Server;
use super::wire::{Reader, Wire, header};

#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Inflated when it came compressed and whole.
    pub body: Vec<u8>,
    /// How many bytes the body had on the wire.
    pub wire_bytes: usize,
    /// The connection broke inside the body.
    pub cut: bool,
}

impl RawAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One connection to a server.
pub struct Client {
    reader: Reader,
}

impl Client {
    pub fn plain(server: &Server) -> Client {
        Client::connect(server.address(), None).unwrap()
    }

    pub fn connect(to: SocketAddr, tls: Option<Arc<ClientConfig>>) -> io::Result<Client> {
        let socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        let wire = match tls {
            None => Wire::Plain(socket),
            Some(tls) => {
                let name = ServerName::try_from("localhost").unwrap();
                let connection = ClientConnection::new(tls, name).map_err(io::Error::other)?;
                Wire::ClientTls(Box::new(StreamOwned::new(connection, socket)))
            }
        };
        Ok(Client { reader: Reader::new(wire) })
    }

    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> io::Result<RawAnswer> {
        self.exchange("GET", target, headers, b"")
    }

    pub fn exchange(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<RawAnswer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        self.reader.wire.write_all(head.as_bytes())?;
        self.reader.wire.write_all(body)?;
        self.reader.wire.flush()?;
        let head = self.reader.head()?;
        let status = head.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut body = Vec::new();
        let cut = self.reader.body(&head, &mut body).is_err();
        let wire_bytes = body.len();
        if !cut && head.header("content-encoding") == Some("gzip") {
            let mut inflated = Vec::new();
            MultiGzDecoder::new(body.as_slice()).read_to_end(&mut inflated)?;
            body = inflated;
        }
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        Ok(RawAnswer { status, headers: head.headers, body, wire_bytes, cut })
    }
}
