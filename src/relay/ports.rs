//! [`Ports`]: the sockets that first attempts are made through.
//!
//! Each is connected, so that the kernel takes datagrams from the asked address and port alone, and has a random port of
//! its own. Several queries go through one, which is what lets them be sent and received with one system call; but a port
//! serves for a second or some hundred queries only, so that an attacker who found it out has little of it.

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

/// Ports to one server that queries are spread over at random.
const PORTS: usize = 8;

/// Queries that go through one port.
const MAX_USES: usize = 256;

/// How long queries go through one port.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Least time between two ICMP messages about one port that are heeded.
const HEED_EVERY: Duration = Duration::from_millis(10);

/// Datagrams sent or received with one call.
const BATCH: usize = 64;

/// Receive buffer asked for each socket in bytes: some 1,000 replies at once.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Room for a datagram in bytes: more than we offer, because Azure's resolver is known to overrun.
const DATAGRAM: usize = 4096;

struct Socket {
    socket: std::net::UdpSocket,
    server: Arc<Server>,
    opened: Instant,
    uses: usize,
    /// Who asked through it, by id.
    attempts: HashMap<u16, Ticket, RandomState>,
    /// No more queries go through it.
    is_retired: bool,
    /// When ICMP last said that its datagrams do not arrive.
    hinted: Option<Instant>,
}

/// See the module's head.
pub(super) struct Ports {
    sockets: Slab<Socket>,
    /// Ports that queries go through, some to each server.
    live: Vec<PortId>,
    /// Queries written and not sent yet, all through one port.
    unsent: SendBatch,
    tickets: Vec<Ticket>,
    through: Option<PortId>,
    failures: Vec<(Ticket, io::Error)>,
    received: ReceiveBatch,
    /// The port that the last call has emptied.
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

    /// The port for the next query to `server`; none where the host has no socket to give.
    pub(super) fn pick(&mut self, server: &Arc<Server>, poll: &Poll, now: Instant) -> Option<PortId> {
        // What is sent together goes through one port.
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
                    tracing::debug!("no socket to ask {} through: {error}", server.name());
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
        // A smaller buffer than asked for only makes fewer replies fit that come at once.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let entry = self.sockets.vacant_entry();
        let port = PortId(entry.key());
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(port.0), Interest::READABLE)?;
        let server = Arc::clone(server);
        // As many as there can be over its life, so that the table is never made anew.
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

    /// Takes out of service what has served long enough.
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
        // Closing takes it out in any case.
        let _ = poll.registry().deregister(&mut SourceFd(&socket.socket.as_raw_fd()));
        self.through = self.through.filter(|through| *through != port);
    }

    /// Has `write` write the query for `ticket`, to be sent through `port` by the next [`Ports::flush`], under the id it is
    /// given; gives the id.
    pub(super) fn write(
        &mut self,
        port: PortId,
        ticket: Ticket,
        write: impl FnOnce(&mut Vec<u8>, u16),
    ) -> Option<u16> {
        let socket = self.sockets.get_mut(port.0)?;
        let id = loop {
            // Far fewer are in flight through one port than there are ids.
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

    /// The question that was asked through `port` with `id`.
    pub(super) fn find(&self, port: PortId, id: u16) -> Option<Ticket> {
        self.sockets.get(port.0)?.attempts.get(&id).copied()
    }

    /// True where it is time to heed an ICMP message about `port`: a flood of them must not cost a look at all that was
    /// asked for each.
    pub(super) fn take_hint(&mut self, port: PortId, now: Instant) -> bool {
        let Some(socket) = self.sockets.get_mut(port.0) else { return false };
        let is_due = socket.hinted.is_none_or(|hinted| now.saturating_duration_since(hinted) >= HEED_EVERY);
        if is_due {
            socket.hinted = Some(now);
        }
        is_due
    }

    /// The questions that were asked through `port`.
    pub(super) fn asked_through(&self, port: PortId) -> Vec<Ticket> {
        self.sockets.get(port.0).map(|socket| socket.attempts.values().copied().collect()).unwrap_or_default()
    }

    /// Sends what was written; gives what could not be sent since the last time.
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

    /// Receives what has come to `port`; none where there is no more.
    pub(super) fn receive(&mut self, port: PortId) -> Option<io::Result<usize>> {
        if self.drained.take() == Some(port) {
            return None;
        }
        let socket = self.sockets.get(port.0)?;
        match self.received.receive(&socket.socket, Wait::No) {
            Ok(count) => {
                // The next datagram makes the socket ready again.
                self.drained = Some(port).filter(|_| count < self.received.capacity());
                Some(Ok(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Number `index` of the datagrams that the last [`Ports::receive`] got from `port`, and whose it is.
    pub(super) fn received(&self, port: PortId, index: usize) -> Option<(&Server, &[u8])> {
        let datagram = self.received.datagram(index)?;
        Some((&*self.sockets.get(port.0)?.server, datagram.bytes))
    }

    /// The query with `id` through `port` has ended.
    pub(super) fn release(&mut self, port: PortId, id: u16, poll: &Poll) {
        let Some(socket) = self.sockets.get_mut(port.0) else { return };
        socket.attempts.remove(&id);
        if socket.is_retired && socket.attempts.is_empty() {
            self.close(port, poll);
        }
    }
}
