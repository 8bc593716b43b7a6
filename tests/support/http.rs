//! [`Http`]: sends any request to the admin listener and reads the reply.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// Status code.
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    /// The same as sent.
    pub(crate) raw_head: String,
    /// The body.
    pub(crate) body: String,
}

/// A client of the admin listener.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    server: SocketAddr,
    source: Option<IpAddr>,
    /// Header lines besides the required ones.
    headers: Vec<String>,
}

impl Http {
    /// A client of the listener at `server`.
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self { server, source: None, headers: Vec::new() }
    }

    /// The same, from the address `source`.
    pub(crate) fn from(self, source: impl Into<IpAddr>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same with one more header, such as `Accept: text/html`.
    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// The same with a token.
    pub(crate) fn token(self, token: &str) -> Self {
        self.header(&format!("Authorization: Bearer {token}"))
    }

    /// Sends `body` as JSON.
    pub(crate) fn json(self, method: &str, path: &str, body: &str) -> Reply {
        self.header("Content-Type: application/json").send(method, path, body)
    }

    /// Sends a request.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        self.try_send(method, path, body).expect("the admin listener answers")
    }

    /// Sends a request to a listener that may go away; `None` if it does.
    pub(crate) fn try_send(&self, method: &str, path: &str, body: &str) -> Option<Reply> {
        let mut stream = match self.source {
            Some(source) => connect_from(source, self.server).ok()?,
            None => TcpStream::connect(self.server).ok()?,
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let is_host = |line: &String| line.starts_with("Host:");
        let host = match self.headers.iter().any(is_host) {
            true => String::new(),
            false => format!("Host: {}\r\n", self.server),
        };
        let headers: String = self.headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        // The listener may refuse a body before reading it all.
        drop(stream.write_all(body.as_bytes()));
        let mut response = Vec::new();
        drop(stream.read_to_end(&mut response));
        let response = String::from_utf8(response).expect("a response in UTF-8");
        let (head, body) = response.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        Some(Reply {
            status,
            head: head.to_ascii_lowercase(),
            raw_head: head.to_owned(),
            body: body.to_owned(),
        })
    }
}

/// A connection to `server` from the address `source`.
fn connect_from(source: IpAddr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

impl Reply {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Fails unless this is an error with this status that contains all of `texts`.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16, texts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.value()["error"].as_str().unwrap_or_default().to_owned();
        for text in texts {
            assert!(error.contains(text), "`{text}` is not in {error}");
        }
    }
}
