//! [`UdpLoad`]: queries over UDP, with a few outstanding on each socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Instant;

use namegate::net::batch::{ReceiveBatch, SendBatch, Wait};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::flight::Flight;
use super::tally::Tally;
use super::workload::Workload;
use super::{EXPIRY, Load, Pace};

/// Receive buffer: larger than any reply to a query that allows 1232 bytes.
const ROOM: usize = 1280;

/// Sockets that send the next query when a reply comes.
pub(crate) struct UdpLoad {
    sockets: Vec<UdpSocket>,
    clients: Vec<Client>,
    pace: Pace,
}

struct Client {
    flight: Flight,
    requests: SendBatch,
    replies: ReceiveBatch,
}

impl UdpLoad {
    /// Opens `sockets` sockets to one server, with at most `outstanding` queries on each.
    pub(crate) fn new(
        server: SocketAddr,
        sockets: usize,
        outstanding: usize,
        pace: Pace,
    ) -> io::Result<Self> {
        let connected = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(server)?;
            Ok(socket)
        };
        let client = |_| Client {
            flight: Flight::new(outstanding),
            requests: SendBatch::new(outstanding),
            replies: ReceiveBatch::new(outstanding, ROOM),
        };
        Ok(Self {
            sockets: (0..sockets).map(connected).collect::<io::Result<_>>()?,
            clients: (0..sockets).map(client).collect(),
            pace,
        })
    }
}

impl Load for UdpLoad {
    fn run(&mut self, workload: &mut Workload, is_over: &dyn Fn() -> bool) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let start = Instant::now();
        let mut next_expiry = start + EXPIRY;
        let mut descriptors: Vec<PollFd<'_>> =
            self.sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        self.pace.begin(start);
        while !is_over() {
            let now = Instant::now();
            for (client, socket) in self.clients.iter_mut().zip(&self.sockets) {
                client.send(socket, workload, now, &mut self.pace);
            }
            poll(&mut descriptors, PollTimeout::from(self.pace.tick()))?;
            for ((client, socket), descriptor) in self.clients.iter_mut().zip(&self.sockets).zip(&descriptors)
            {
                if descriptor.any() == Some(true) {
                    client.receive(socket, &mut tally);
                }
            }
            if now >= next_expiry {
                self.clients.iter_mut().for_each(|client| client.flight.expire(now, &mut tally));
                next_expiry = now + EXPIRY;
            }
        }
        Ok(tally)
    }
}

impl Client {
    fn send(&mut self, socket: &UdpSocket, workload: &mut Workload, now: Instant, pace: &mut Pace) {
        while pace.allows(now)
            && let Some(query) = self.flight.launch(workload, now)
        {
            let draft = self.requests.draft();
            draft.clear();
            draft.extend_from_slice(query);
            self.requests.post_connected();
            pace.count();
        }
        if !self.requests.is_empty() {
            // A query that could not be sent times out and is counted then.
            let _ = self.requests.flush([socket]);
        }
    }

    fn receive(&mut self, socket: &UdpSocket, tally: &mut Tally) {
        // An error belongs to an earlier query: no server listens there. That query times out and is counted then.
        if self.replies.receive(socket, Wait::No).is_err() {
            return;
        }
        let now = Instant::now();
        for datagram in self.replies.iter() {
            self.flight.land(datagram.bytes, now, tally);
        }
    }
}
