//! [`ProbeClient`]: queries one server over UDP and TCP, from its own sockets.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::events::own_clients::{OwnClients, OwnSocket};
use crate::net::socket::reachable;
use crate::wire::header::{Flags, Header};
pub use crate::wire::reply::Transport;

/// Attempts before a query counts as unanswered. A flooded server may lose a datagram, and a rate-limiting server may
/// drop it.
fn tries(transport: Transport) -> u32 {
    match transport {
        Transport::Udp => 6,
        Transport::Tcp => 3,
    }
}

/// Time before a UDP query is resent, as clients do. The last attempt waits for the full timeout.
const RESEND_AFTER: Duration = Duration::from_secs(1);

/// Buffer for a UDP reply, in bytes. Probes advertise at most 1232.
const ROOM: usize = 4096;

/// Tells the queried resolver which sockets are namegate's own, while they are in use.
pub trait Announce: Sync {
    /// `socket` will send queries.
    fn announce(&self, socket: OwnSocket) -> impl Future<Output = ()> + Send;
    /// `sockets` will be closed, and others may get their ports.
    fn withdraw(&self, sockets: &[OwnSocket]) -> impl Future<Output = ()> + Send;
}

/// Inside the resolver.
impl Announce for Arc<OwnClients> {
    async fn announce(&self, socket: OwnSocket) {
        self.add(socket);
    }

    async fn withdraw(&self, sockets: &[OwnSocket]) {
        self.remove(sockets);
    }
}

/// A client of one server.
pub struct ProbeClient<A> {
    server: SocketAddr,
    udp: UdpSocket,
    tcp: Option<TcpStream>,
    announcer: A,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    /// No reply to any attempt.
    #[error("no reply")]
    Silence,
    /// Nothing listens there, or the network failed.
    #[error(transparent)]
    Unreachable(#[from] io::Error),
}

impl<A: Announce> ProbeClient<A> {
    /// A client of `server`; a wildcard address is replaced by loopback. `announcer` tells which sockets it uses.
    ///
    /// Errors: no socket is available.
    pub async fn new(server: SocketAddr, announcer: A) -> io::Result<Self> {
        let server = reachable(server);
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let udp = UdpSocket::bind((any, 0)).await?;
        udp.connect(server).await?;
        announcer.announce((udp.local_addr()?, Transport::Udp)).await;
        Ok(Self { server, udp, tcp: None, announcer })
    }

    /// Closes the sockets.
    pub async fn close(self) {
        let stream = self.tcp.as_ref().and_then(|stream| stream.local_addr().ok());
        let stream = stream.map(|socket| (socket, Transport::Tcp));
        let udp = self.udp.local_addr().ok().map(|socket| (socket, Transport::Udp));
        let sockets: Vec<OwnSocket> = udp.into_iter().chain(stream).collect();
        self.announcer.withdraw(&sockets).await;
    }

    async fn close_stream(&mut self) {
        if let Some(stream) = self.tcp.take()
            && let Ok(socket) = stream.local_addr()
        {
            self.announcer.withdraw(&[(socket, Transport::Tcp)]).await;
        }
    }

    /// The address that it queries from over UDP.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// The server that it queries.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Sends `query` with a random id and returns the reply. Each attempt may take `patience`.
    pub async fn ask(
        &mut self,
        query: &[u8],
        transport: Transport,
        patience: Duration,
    ) -> Result<Vec<u8>, NoReply> {
        let mut last = NoReply::Silence;
        let mut query = query.to_vec();
        // One id for all attempts, so that a late reply to any of them counts.
        query[..2].copy_from_slice(&rand::random::<u16>().to_be_bytes());
        let tries = tries(transport);
        for number in 1..=tries {
            let is_resent = transport == Transport::Udp && number < tries;
            let time = if is_resent { patience.min(RESEND_AFTER) } else { patience };
            let reply = timeout(time, async {
                match transport {
                    Transport::Udp => self.ask_by_datagram(&query).await,
                    Transport::Tcp => self.ask_by_stream(&query).await,
                }
            });
            match reply.await {
                // RFC 2181 section 9: retry a truncated reply over TCP. A rate-limiting namegate truncates replies.
                Ok(Ok(reply)) if transport == Transport::Udp && says_nothing_but_truncated(&reply) => {
                    return Box::pin(self.ask(&query, Transport::Tcp, patience)).await;
                }
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => last = error.into(),
                Err(_) => last = NoReply::Silence,
            }
            self.close_stream().await;
        }
        Err(last)
    }

    async fn ask_by_datagram(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        self.udp.send(query).await?;
        let mut reply = vec![0; ROOM];
        loop {
            let length = self.udp.recv(&mut reply).await?;
            // Skip replies to other queries.
            if reply[..length].starts_with(&query[..2]) {
                reply.truncate(length);
                return Ok(reply);
            }
        }
    }

    async fn ask_by_stream(&mut self, query: &[u8]) -> io::Result<Vec<u8>> {
        let stream = match &mut self.tcp {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.server).await?;
                stream.set_nodelay(true)?;
                self.announcer.announce((stream.local_addr()?, Transport::Tcp)).await;
                none.insert(stream)
            }
        };
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        match reply.starts_with(&query[..2]) {
            true => Ok(reply),
            false => Err(io::Error::other("reply to another query")),
        }
    }
}

/// True if `reply` has TC and no answer or authority records.
fn says_nothing_but_truncated(reply: &[u8]) -> bool {
    Header::parse(reply)
        .is_some_and(|header| header.flags.has(Flags::TC) && reply.get(6..10) == Some(&[0; 4]))
}

impl<A> fmt::Debug for ProbeClient<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProbeClient({})", self.server)
    }
}
