//! [`ProbeClient`]: asks one server over UDP and TCP, from sockets of its own.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::events::untold::Untold;
use crate::net::socket::reachable;
use crate::wire::header::{Flags, Header};
pub use crate::wire::reply::Transport;

/// How often a query is sent before there is no reply: a datagram may be lost where the gate is flooded, or left without a reply
/// where it limits rates.
fn tries(transport: Transport) -> u32 {
    match transport {
        Transport::Udp => 6,
        Transport::Tcp => 3,
    }
}

/// How long a datagram is waited for before it is sent again, as clients do; the last one has all the time there is.
const RESEND_AFTER: Duration = Duration::from_secs(1);

/// Largest reply over UDP in bytes; what is asked for is 1232 at most.
const ROOM: usize = 4096;

/// Asks one server.
pub struct ProbeClient {
    server: SocketAddr,
    udp: UdpSocket,
    tcp: Option<TcpStream>,
    untold: Option<Arc<Untold>>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    /// Nothing came, however often it was asked.
    #[error("no reply")]
    Silence,
    /// Nothing listens there, or the network is in the way.
    #[error(transparent)]
    Unreachable(#[from] io::Error),
}

impl ProbeClient {
    /// Asks `server`; a wildcard address through loopback. Lookups from its sockets are kept out of logs by `untold`.
    ///
    /// Errors: no socket can be had.
    pub async fn new(server: SocketAddr, untold: Option<Arc<Untold>>) -> io::Result<Self> {
        let server = reachable(server);
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let udp = UdpSocket::bind((any, 0)).await?;
        udp.connect(server).await?;
        if let Some(untold) = &untold {
            untold.add(udp.local_addr()?);
        }
        Ok(Self { server, udp, tcp: None, untold })
    }

    /// Whom it asks.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Sends `query` with an id of its own, and gives the reply to it; each try may take `patience`.
    pub async fn ask(
        &mut self,
        query: &[u8],
        transport: Transport,
        patience: Duration,
    ) -> Result<Vec<u8>, NoReply> {
        let mut last = NoReply::Silence;
        let mut query = query.to_vec();
        // The same for all tries, so that a late reply to one of them is a reply.
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
                // RFC 2181 section 9: what is truncated is asked over TCP. A gate that limits rates has known askers ask so.
                Ok(Ok(reply)) if transport == Transport::Udp && says_nothing_but_truncated(&reply) => {
                    return Box::pin(self.ask(&query, Transport::Tcp, patience)).await;
                }
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => (self.tcp, last) = (None, error.into()),
                Err(_) => (self.tcp, last) = (None, NoReply::Silence),
            }
        }
        Err(last)
    }

    async fn ask_by_datagram(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        self.udp.send(query).await?;
        let mut reply = vec![0; ROOM];
        loop {
            let length = self.udp.recv(&mut reply).await?;
            // An earlier try's reply may come late.
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
                if let Some(untold) = &self.untold {
                    untold.add(stream.local_addr()?);
                }
                none.insert(stream)
            }
        };
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        match reply.starts_with(&query[..2]) {
            true => Ok(reply),
            false => Err(io::Error::other("a reply to another query")),
        }
    }
}

/// True where `reply` has TC and no records of answer or authority.
fn says_nothing_but_truncated(reply: &[u8]) -> bool {
    Header::parse(reply)
        .is_some_and(|header| header.flags.has(Flags::TC) && reply.get(6..10) == Some(&[0; 4]))
}

impl fmt::Debug for ProbeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asker({})", self.server)
    }
}
