//! [`EncryptedUpstream`]: a scripted DNS server over TLS, HTTPS or QUIC on loopback.
//!
//! It uses tokio-rustls, h2 and quinn directly, not hickory, which namegate uses.

mod serve;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use tokio_rustls::TlsAcceptor;

use super::authority::Identity;
use super::message::Message;
use super::record::Record;
use super::response::Response;
use super::upstream::is_loop_probe;
use super::{PATIENCE, eventually};

/// The transport of the queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
    /// DNS over QUIC.
    Quic,
}

impl Carrier {
    /// All carriers.
    pub(crate) const ALL: [Self; 3] = [Self::Tls, Self::Https, Self::Quic];

    /// The address for the settings of a server at `place`, with the certificate name `name` unless that is empty.
    pub(crate) fn address(self, place: impl std::fmt::Display, name: &str) -> String {
        let (scheme, path) = match self {
            Self::Tls => ("tls", ""),
            Self::Https => ("https", "/dns-query"),
            Self::Quic => ("quic", ""),
        };
        let name = if name.is_empty() { String::new() } else { format!("#{name}") };
        format!("{scheme}://{place}{path}{name}")
    }
}

/// What the server does with a query.
#[derive(Clone)]
pub(crate) enum Act {
    /// Answers.
    Answer(Response),
    /// Answers after a delay.
    Late(Duration, Response),
    /// Answers, then closes the connection.
    Last(Response),
    /// Answers as if another name of the same length had been queried.
    OtherQuestion(Response),
    /// Sends these bytes as the answer.
    Bytes(Vec<u8>),
    /// Announces an answer, sends half of it and closes the connection.
    Half(Response),
    /// HTTPS: sends this status, content type and body.
    Http(u16, &'static str, Vec<u8>),
    /// HTTPS: sends this status, header and no body.
    Status(u16, &'static str, &'static str),
    /// HTTPS: answers with another content type, and one more header.
    Headers(&'static str, &'static str, &'static str, Response),
    /// HTTPS and QUIC: resets the stream.
    Reset,
    /// Closes the connection.
    Close,
    /// Does nothing.
    Silence,
}

/// A received query.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Decoded, with its bytes.
    pub(crate) message: Message,
    /// Number of its connection, from 0.
    pub(crate) connection: usize,
}

/// The server, stopped when dropped.
pub(crate) struct EncryptedUpstream {
    carrier: Carrier,
    address: SocketAddr,
    state: Arc<State>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct State {
    acts: Mutex<HashMap<String, VecDeque<Act>>>,
    usual: Mutex<Option<Act>>,
    received: Mutex<Vec<Received>>,
    /// The server name of each connection's handshake.
    connections: Mutex<Vec<Option<String>>>,
    /// Number of closed connections.
    ended: AtomicUsize,
    /// Whether queries of one connection are processed one after the other.
    in_turn: std::sync::atomic::AtomicBool,
    /// The authority of each HTTP request.
    authorities: Mutex<Vec<String>>,
}

impl EncryptedUpstream {
    /// Starts on 127.0.0.1, on a port chosen by the system, as `identity`.
    pub(crate) fn start(carrier: Carrier, identity: &Identity) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), carrier, identity)
    }

    /// Starts at `address`.
    pub(crate) fn start_at(address: SocketAddr, carrier: Carrier, identity: &Identity) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let state = Arc::new(State::default());
        let _in_runtime = runtime.enter();
        let address = match carrier {
            Carrier::Tls | Carrier::Https => {
                let listener = eventually("a port", || TcpListener::bind(address).ok());
                listener.set_nonblocking(true).expect("a socket that does not block");
                let address = listener.local_addr().expect("an address");
                let alpn = if carrier == Carrier::Tls { "dot" } else { "h2" };
                let acceptor = TlsAcceptor::from(Arc::new(identity.server_config(alpn)));
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                runtime.spawn(serve::tcp(listener, acceptor, carrier, Arc::clone(&state)));
                address
            }
            Carrier::Quic => {
                let crypto = QuicServerConfig::try_from(identity.server_config("doq")).expect("TLS 1.3");
                let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                let endpoint = eventually("a port", || quinn::Endpoint::server(config.clone(), address).ok());
                let address = endpoint.local_addr().expect("an address");
                runtime.spawn(serve::quic(endpoint, Arc::clone(&state)));
                address
            }
        };
        Self { carrier, address, state, runtime: Some(runtime) }
    }

    /// Processes one query of a connection at a time from now on.
    pub(crate) fn work_in_turn(&self) {
        self.state.in_turn.store(true, Ordering::Relaxed);
    }

    /// The authority of each request.
    pub(crate) fn authorities(&self) -> Vec<String> {
        self.state.authorities.lock().expect("no thread panicked").clone()
    }

    /// Its address.
    pub(crate) fn place(&self) -> SocketAddr {
        self.address
    }

    /// Its address for the settings, with the certificate name `name` unless that is empty.
    pub(crate) fn address(&self, name: &str) -> String {
        self.carrier.address(self.address, name)
    }

    /// Handles queries for `name` by one act after the other; the last one repeats.
    pub(crate) fn on(&self, name: &str, acts: impl IntoIterator<Item = Act>) {
        self.state.acts.lock().unwrap().insert(name.to_owned(), acts.into_iter().collect());
    }

    /// Sets the act for all other names, including health probes.
    pub(crate) fn answer_all(&self, act: Act) {
        *self.state.usual.lock().unwrap() = Some(act);
    }

    /// All queries so far, without health probes.
    pub(crate) fn queries(&self) -> Vec<Received> {
        let received = self.state.received.lock().unwrap();
        let is_probe = |query: &&Received| query.message.asked() == ". NS" || is_loop_probe(&query.message);
        received.iter().filter(|query| !is_probe(query)).cloned().collect()
    }

    /// Number of successful handshakes. On a busy machine a late reply makes namegate open a second connection, so
    /// count the cost of a fault with [`Self::ended`].
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.lock().unwrap().len()
    }

    /// The server names in namegate's handshakes, each once.
    pub(crate) fn names_given(&self) -> BTreeSet<Option<String>> {
        self.state.connections.lock().unwrap().iter().cloned().collect()
    }

    /// Number of closed connections, whoever closed them.
    pub(crate) fn ended(&self) -> usize {
        self.state.ended.load(Ordering::SeqCst)
    }

    /// A plain socket of the other kind on its port, which receives anything sent in clear text; `None` if the port is
    /// taken.
    pub(crate) fn eavesdrop(&self) -> Option<Eavesdropper> {
        match self.carrier {
            Carrier::Tls | Carrier::Https => UdpSocket::bind(self.address).ok().map(Eavesdropper::Udp),
            Carrier::Quic => TcpListener::bind(self.address).ok().map(Eavesdropper::Tcp),
        }
    }
}

impl Drop for EncryptedUpstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

/// See [`EncryptedUpstream::eavesdrop`].
pub(crate) enum Eavesdropper {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Eavesdropper {
    /// Fails if anything was received.
    pub(crate) fn assert_nothing_came(&self) {
        let came = match self {
            Self::Udp(socket) => {
                socket.set_nonblocking(true).expect("a socket that does not block");
                socket.recv(&mut [0; 512]).map(|length| format!("{length} bytes in clear"))
            }
            Self::Tcp(listener) => {
                listener.set_nonblocking(true).expect("a socket that does not block");
                listener.accept().map(|(_, client)| format!("a connection from {client}"))
            }
        };
        assert_eq!(came.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
    }
}

impl State {
    /// Records a handshake; returns the connection's number.
    fn connected(&self, name: Option<String>) -> usize {
        let mut connections = self.connections.lock().unwrap();
        connections.push(name);
        connections.len() - 1
    }

    fn disconnected(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn receive(&self, bytes: &[u8], connection: usize) -> (Message, Act) {
        let message = Message::expect(bytes);
        let act = self.act_for(&message);
        self.received.lock().unwrap().push(Received { message: message.clone(), connection });
        (message, act)
    }

    fn act_for(&self, query: &Message) -> Act {
        let mut acts = self.acts.lock().unwrap();
        let own = acts.get_mut(query.name()).and_then(|acts| match acts.len() {
            0 | 1 => acts.front().cloned(),
            _ => acts.pop_front(),
        });
        let name = query.name();
        own.or_else(|| self.usual.lock().unwrap().clone()).unwrap_or_else(|| match query.questions[0].qtype {
            1 => Act::Answer(Response::answering(&[&format!("{name} 300 A 192.0.2.1")])),
            _ => Act::Answer(Response::negative("NOERROR", Record::soa("example", 300, 300))),
        })
    }
}
