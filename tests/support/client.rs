//! Clients that send any bytes: [`UdpClient`] and [`TcpClient`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::message::Message;
use super::query::Query;

/// Time without a message, after a later query was answered, that counts as silence.
const AFTERMATH: Duration = Duration::from_millis(10);

/// A UDP client with its own port.
pub(crate) struct UdpClient {
    socket: UdpSocket,
}

impl UdpClient {
    /// A client of `target`, on the loopback address of its family.
    pub(crate) fn of(target: SocketAddr) -> Self {
        let local = match target {
            SocketAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            SocketAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        };
        Self::from(local, target)
    }

    /// A client of `target` with the address `source`.
    pub(crate) fn from(source: IpAddr, target: SocketAddr) -> Self {
        let socket = UdpSocket::bind((source, 0)).expect("a loopback address can be bound");
        socket.connect(target).expect("a loopback address can be reached");
        Self { socket }
    }

    /// Its own address.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// Sends a datagram.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).expect("a datagram can be sent");
    }

    /// The next datagram; `None` after `timeout`.
    pub(crate) fn receive_within(&self, timeout: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(timeout)).expect("a timeout can be set");
        let mut buffer = [0; 65_535];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return Some(buffer[..length].to_vec()),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return None,
                    ErrorKind::Interrupted => {}
                    _ => panic!("receiving over UDP: {error}"),
                },
            }
        }
    }

    /// The next datagram; fails if none comes.
    pub(crate) fn receive(&self) -> Vec<u8> {
        self.receive_within(PATIENCE).expect("a reply over UDP")
    }

    /// Sends, receives and decodes.
    pub(crate) fn ask(&self, query: &Query) -> Message {
        self.send(&query.bytes());
        Message::expect(&self.receive())
    }

    /// Sends `bytes`; true if they get no reply: a query sent after it is answered, and nothing else comes.
    pub(crate) fn is_ignored(&self, bytes: &[u8]) -> bool {
        let later = Query::new("later.invalid", "A");
        self.send(bytes);
        self.send(&later.bytes());
        let answered_only_later = self.receive().starts_with(&later.id.to_be_bytes());
        answered_only_later && self.receive_within(AFTERMATH).is_none()
    }
}

/// What was received from a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TcpEvent {
    /// A message without its length prefix.
    Message(Vec<u8>),
    /// Namegate closed the connection.
    Closed,
    /// Nothing came in time.
    Nothing,
}

/// A TCP connection of a client.
pub(crate) struct TcpClient {
    stream: TcpStream,
}

impl TcpClient {
    /// Connects to `target`.
    pub(crate) fn connect(target: SocketAddr) -> Self {
        let stream = TcpStream::connect(target).expect("a connection");
        stream.set_nodelay(true).expect("an option can be set");
        Self { stream }
    }

    /// Connects to `target` from the address `source`.
    pub(crate) fn connect_from(source: IpAddr, target: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(source, 0).into()).expect("a loopback address can be bound");
        socket.connect(&target.into()).expect("a connection");
        Self { stream: socket.into() }
    }

    /// Sends a message with its length prefix.
    pub(crate) fn send(&mut self, message: &[u8]) {
        self.send_raw(&framed(message)).expect("a message can be sent");
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Closes the sending side; still receives.
    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a connection can be half closed");
    }

    /// True if namegate has closed the connection and nothing is left to read; does not wait.
    pub(crate) fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a connection need not block");
        let found = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a connection may block");
        match found {
            Ok(length) => length == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// The next event within `timeout`.
    pub(crate) fn event_within(&mut self, timeout: Duration) -> TcpEvent {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout can be set");
        let mut length = [0; 2];
        if let Err(error) = self.stream.read_exact(&mut length) {
            return match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => TcpEvent::Nothing,
                _ => TcpEvent::Closed,
            };
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut message).expect("a whole message");
        TcpEvent::Message(message)
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> TcpEvent {
        self.event_within(PATIENCE)
    }

    /// The next message; fails if none comes.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        match self.event() {
            TcpEvent::Message(message) => message,
            other => panic!("{other:?} instead of a reply over TCP"),
        }
    }

    /// Sends, receives and decodes.
    pub(crate) fn ask(&mut self, query: &Query) -> Message {
        self.send(&query.bytes());
        Message::expect(&self.receive())
    }

    /// Sends `bytes`; true if they get no reply: namegate closes, or answers only a later query.
    pub(crate) fn is_ignored(&mut self, bytes: &[u8]) -> bool {
        let later = Query::new("later.invalid", "A");
        let sent = self.send_raw(&[framed(bytes), framed(&later.bytes())].concat());
        match self.event() {
            TcpEvent::Message(message) => message.starts_with(&later.id.to_be_bytes()),
            TcpEvent::Closed => true,
            TcpEvent::Nothing => sent.is_err(),
        }
    }
}

/// A message with its length prefix (RFC 1035 section 4.2.2).
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}
