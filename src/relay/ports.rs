//! [`Ports`]: the UDP sockets through which the relay itself queries servers. Tasks use sockets of their own.
//!
//! Each socket is connected, so the kernel accepts datagrams only from the queried address and port. Each has a random
//! port. Several queries share a socket, which allows sending and receiving them with one system call. A port serves
//! for only a second or a few hundred queries, so an attacker who discovers it gains little.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use rapidhash::fast::RandomState;
use slab::Slab;
use tokio::time::Instant;

use super::port::PortId;
use crate::net::batch::{ReceiveBatch, SendBatch, Wait};
use crate::relay::pending_table::Ticket;
use crate::upstream::server::Server;
use crate::util::log_event::log;

/// Ports per server. Each batch uses one of them, chosen at random.
const PORTS: usize = 8;

/// Queries per port.
const MAX_USES: usize = 256;

/// How long new queries use one port.
const MAX_AGE: Duration = Duration::from_secs(1);

/// After acting on an ICMP message about a port, ignore further ones for this time.
const HEED_EVERY: Duration = Duration::from_millis(10);

/// Datagrams sent or received per call.
const BATCH: usize = 64;

/// Receive buffer requested for each socket in bytes: about 1,000 replies at once.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Receive buffer for one datagram in bytes: larger than the EDNS payload size in our queries, because Azure's resolver
/// is known to exceed that size.
const DATAGRAM: usize = 4096;

struct Socket {
    socket: std::net::UdpSocket,
    server: Arc<Server>,
    opened: Instant,
    uses: usize,
    /// Queries in flight on this socket, by id.
    attempts: HashMap<u16, Ticket, RandomState>,
    /// True if new queries no longer use it.
    is_retired: bool,
    /// When an ICMP message about it was last acted on.
    hinted: Option<Instant>,
}

/// The relay's own UDP sockets; see the module documentation.
pub(super) struct Ports {
    sockets: Slab<Socket>,
    /// Ports for new queries, several per server.
    live: Vec<PortId>,
    /// Queries not sent yet, all for one port.
    unsent: SendBatch,
    tickets: Vec<Ticket>,
    through: Option<PortId>,
    failures: Vec<(Ticket, io::Error)>,
    received: ReceiveBatch,
    /// The port that the last receive call emptied.
    drained: Option<PortId>,
}

impl Ports {
    /// No sockets yet.
    pub(super) fn new() -> Self {
        Self {
            sockets: Slab::new(),
            live: Vec::new(),
            unsent: SendBatch::new(BATCH),
            tickets: Vec::new(),
            through: None,
            failures: Vec::new(),
            received: ReceiveBatch::new(BATCH, DATAGRAM),
            drained: None,
        }
    }

    /// The port for the next query to `server`; `None` if this host cannot open a socket.
    pub(super) fn pick(&mut self, server: &Arc<Server>, poll: &Poll, now: Instant) -> Option<PortId> {
        // Queries in one batch share a port.
        if let Some(port) = self.through
            && !self.unsent.is_full()
            && self.sockets.get(port.0).is_some_and(|socket| Arc::ptr_eq(&socket.server, server))
        {
            return Some(port);
        }
        self.send_unsent();
        self.retire(poll, now);
        let of_server = |port: &&PortId| {
            self.sockets.get(port.0).is_some_and(|socket| Arc::ptr_eq(&socket.server, server))
        };
        let candidates = self.live.iter().filter(of_server).count();
        let port = match candidates < PORTS {
            true => match self.open(server, poll, now) {
                Ok(port) => port,
                Err(error) => {
                    log!(SocketError, "cannot open a socket for upstream {}: {error}", server.name());
                    return None;
                }
            },
            false => *self.live.iter().filter(of_server).nth(rand::random_range(..candidates))?,
        };
        self.through = Some(port);
        Some(port)
    }

    fn open(&mut self, server: &Arc<Server>, poll: &Poll, now: Instant) -> io::Result<PortId> {
        let remote = server.udp_socket().ok_or(io::ErrorKind::Unsupported)?;
        let local: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = std::net::UdpSocket::bind(local)?;
        socket.connect(remote)?;
        socket.set_nonblocking(true)?;
        // A smaller buffer only means that fewer simultaneous replies fit.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let entry = self.sockets.vacant_entry();
        let port = PortId(entry.key());
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(port.0), Interest::READABLE)?;
        let server = Arc::clone(server);
        // The most it can hold over its life, so it never reallocates.
        let attempts = HashMap::with_capacity_and_hasher(MAX_USES + BATCH, RandomState::default());
        entry.insert(Socket {
            socket,
            server,
            opened: now,
            uses: 0,
            attempts,
            is_retired: false,
            hinted: None,
        });
        self.live.push(port);
        Ok(port)
    }

    /// Retires ports that have served long enough.
    fn retire(&mut self, poll: &Poll, now: Instant) {
        let sockets = &mut self.sockets;
        let mut unused = Vec::new();
        self.live.retain(|port| {
            let Some(socket) = sockets.get_mut(port.0) else { return false };
            socket.is_retired =
                socket.uses >= MAX_USES || now.saturating_duration_since(socket.opened) >= MAX_AGE;
            if socket.is_retired && socket.attempts.is_empty() {
                unused.push(*port);
            }
            !socket.is_retired
        });
        unused.into_iter().for_each(|port| self.close(port, poll));
    }

    fn close(&mut self, port: PortId, poll: &Poll) {
        let Some(socket) = self.sockets.try_remove(port.0) else { return };
        // Closing the socket deregisters it in any case.
        let _ = poll.registry().deregister(&mut SourceFd(&socket.socket.as_raw_fd()));
        self.through = self.through.filter(|through| *through != port);
    }

    /// Lets `write` write the query for `ticket` under a new id. The next [`Ports::flush`] sends it through `port`.
    /// Returns the id.
    pub(super) fn write(
        &mut self,
        port: PortId,
        ticket: Ticket,
        write: impl FnOnce(&mut Vec<u8>, u16),
    ) -> Option<u16> {
        let socket = self.sockets.get_mut(port.0)?;
        let id = loop {
            // A port has far fewer queries in flight than there are ids, so this ends quickly.
            let id = rand::random();
            if let Entry::Vacant(place) = socket.attempts.entry(id) {
                place.insert(ticket);
                break id;
            }
        };
        socket.uses += 1;
        write(self.unsent.draft(), id);
        self.unsent.post_connected();
        self.tickets.push(ticket);
        Some(id)
    }

    /// The query that was sent through `port` with `id`.
    pub(super) fn find(&self, port: PortId, id: u16) -> Option<Ticket> {
        self.sockets.get(port.0)?.attempts.get(&id).copied()
    }

    /// True if an ICMP message about `port` should be acted on now. Limited because each one examines every query in
    /// flight on the port, which a flood must not exploit.
    pub(super) fn take_hint(&mut self, port: PortId, now: Instant) -> bool {
        let Some(socket) = self.sockets.get_mut(port.0) else { return false };
        let is_due = socket.hinted.is_none_or(|hinted| now.saturating_duration_since(hinted) >= HEED_EVERY);
        if is_due {
            socket.hinted = Some(now);
        }
        is_due
    }

    /// The queries in flight on `port`.
    pub(super) fn asked_through(&self, port: PortId) -> Vec<Ticket> {
        self.sockets.get(port.0).map(|socket| socket.attempts.values().copied().collect()).unwrap_or_default()
    }

    /// Sends what was written; returns the queries that could not be sent since the last call.
    pub(super) fn flush(&mut self) -> Vec<(Ticket, io::Error)> {
        self.send_unsent();
        std::mem::take(&mut self.failures)
    }

    fn send_unsent(&mut self) {
        if let Some(socket) = self.through.take().and_then(|port| self.sockets.get(port.0)) {
            let sent = self.unsent.flush([&socket.socket]);
            self.failures.extend(sent.failed.into_iter().map(|(index, error)| (self.tickets[index], error)));
            let blocked = &self.tickets[self.tickets.len() - sent.blocked..];
            self.failures.extend(blocked.iter().map(|ticket| (*ticket, io::ErrorKind::WouldBlock.into())));
        }
        self.tickets.clear();
    }

    /// Receives datagrams from `port`; `None` if there are no more.
    pub(super) fn receive(&mut self, port: PortId) -> Option<io::Result<usize>> {
        if self.drained.take() == Some(port) {
            return None;
        }
        let socket = self.sockets.get(port.0)?;
        match self.received.receive(&socket.socket, Wait::No) {
            Ok(count) => {
                // The next datagram makes the socket readable again.
                self.drained = Some(port).filter(|_| count < self.received.capacity());
                Some(Ok(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Datagram `index` of the last [`Ports::receive`] on `port`, and the server that the port belongs to.
    pub(super) fn received(&self, port: PortId, index: usize) -> Option<(&Server, &[u8])> {
        let datagram = self.received.datagram(index)?;
        Some((&*self.sockets.get(port.0)?.server, datagram.bytes))
    }

    /// Ends the query with `id` on `port`.
    pub(super) fn release(&mut self, port: PortId, id: u16, poll: &Poll) {
        let Some(socket) = self.sockets.get_mut(port.0) else { return };
        socket.attempts.remove(&id);
        if socket.is_retired && socket.attempts.is_empty() {
            self.close(port, poll);
        }
    }
}
