//! [`OpenLoad`]: UDP queries at a fixed pace, whether or not earlier ones are answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use namegate::net::batch::{ReceiveBatch, SendBatch, Wait, dropped_by_kernel};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::tally::Tally;
use super::workload::Workload;
use super::{Pace, reply};

/// Queries that one socket sends before the next socket's turn.
const BATCH: usize = 32;
/// Read calls on one socket before sending again.
const CALLS: usize = 4;
/// Receive buffer: larger than any reply to a query that allows 1232 bytes.
const ROOM: usize = 1280;
/// Kernel receive buffer per socket, in bytes: replies lost here count against the server.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Queries remembered per socket: one per id.
const IDS: usize = 1 << 16;

/// A load that waits for no reply, but accepts every reply, however late.
pub(crate) struct OpenLoad {
    clients: Vec<Client>,
    workload: Workload,
    pace: Pace,
    next: usize,
    tally: Tally,
    message: Vec<u8>,
    is_deaf: bool,
}

struct Client {
    socket: UdpSocket,
    requests: SendBatch,
    replies: ReceiveBatch,
    /// Indexed by message id.
    asked: Vec<Option<Asked>>,
    id: u16,
}

#[derive(Clone, Copy)]
struct Asked {
    number: u64,
    at: Instant,
}

impl OpenLoad {
    /// One socket for each of `sources`, all connected to one server.
    pub(crate) fn new(
        server: SocketAddr,
        sources: impl IntoIterator<Item = Ipv4Addr>,
        workload: Workload,
    ) -> io::Result<Self> {
        Ok(Self {
            clients: sources
                .into_iter()
                .map(|source| Client::new(source, server))
                .collect::<io::Result<_>>()?,
            workload,
            pace: Pace::per_second(0.0),
            next: 0,
            tally: Tally::default(),
            message: Vec::with_capacity(ROOM),
            is_deaf: false,
        })
    }

    /// The same, but ignores replies: there is no time to read them when more is sent than the server can handle.
    pub(crate) fn deaf(self) -> Self {
        Self { is_deaf: true, ..self }
    }

    /// Sets the rate in queries per second.
    pub(crate) fn set_rate(&mut self, per_second: f64) {
        self.pace = Pace::per_second(per_second);
    }

    /// The tally since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Replies dropped by this side's full socket buffers.
    pub(crate) fn dropped(&self) -> u64 {
        self.clients.iter().filter_map(|client| dropped_by_kernel(&client.socket)).map(u64::from).sum()
    }

    /// Sends due queries, up to one batch per socket, and reads replies.
    fn turn(&mut self, now: Instant) {
        let mut due = self.pace.due(now);
        for _ in 0..self.clients.len() {
            if due == 0 {
                break;
            }
            let count = due.min(BATCH as u64);
            due -= count;
            let client = &mut self.clients[self.next];
            for _ in 0..count {
                self.pace.count();
                self.tally.sent += 1;
                client.write(&mut self.workload, now);
            }
            // A query that could not be sent gets no reply.
            let _ = client.requests.flush([&client.socket]);
            self.next = (self.next + 1) % self.clients.len();
        }
        for client in self.clients.iter_mut().filter(|_| !self.is_deaf) {
            client.receive(&self.workload, &mut self.message, &mut self.tally);
        }
    }
}

/// Runs several loads in parallel from one thread until `is_over`, so that none waits for the core.
pub(crate) fn run(loads: &mut [&mut OpenLoad], is_over: impl Fn() -> bool) -> io::Result<()> {
    loads.iter_mut().for_each(|load| load.pace.begin(Instant::now()));
    while !is_over() {
        let now = Instant::now();
        loads.iter_mut().for_each(|load| load.turn(now));
        let is_due = loads.iter().any(|load| load.pace.due(Instant::now()) > 0);
        let sockets = loads
            .iter()
            .filter(|load| !load.is_deaf)
            .flat_map(|load| &load.clients)
            .map(|client| client.socket.as_fd());
        let mut descriptors: Vec<PollFd<'_>> =
            sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
        poll(&mut descriptors, if is_due { PollTimeout::ZERO } else { PollTimeout::from(1_u8) })?;
    }
    Ok(())
}

/// Sends nothing, and reads late replies for `patience`.
pub(crate) fn settle(loads: &mut [&mut OpenLoad], patience: Duration) -> io::Result<()> {
    loads.iter_mut().for_each(|load| load.set_rate(0.0));
    run(loads, super::after(patience))
}

impl Client {
    fn new(source: Ipv4Addr, server: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&server.into())?;
        Ok(Self {
            socket: socket.into(),
            requests: SendBatch::new(BATCH),
            replies: ReceiveBatch::new(BATCH, ROOM),
            asked: vec![None; IDS],
            id: 0,
        })
    }

    fn write(&mut self, workload: &mut Workload, now: Instant) {
        self.id = self.id.wrapping_add(1);
        let draft = self.requests.draft();
        let (number, _) = workload.write_next(draft);
        if let Some(id) = draft.first_chunk_mut() {
            *id = self.id.to_be_bytes();
        }
        self.requests.post_connected();
        self.asked[usize::from(self.id)] = Some(Asked { number, at: now });
    }

    fn receive(&mut self, workload: &Workload, message: &mut Vec<u8>, tally: &mut Tally) {
        for _ in 0..CALLS {
            // An error belongs to an earlier query: no server listens there.
            let Ok(count) = self.replies.receive(&self.socket, Wait::No) else { return };
            let now = Instant::now();
            for datagram in self.replies.iter() {
                let Some(&[high, low]) = datagram.bytes.first_chunk() else { continue };
                let id = u16::from_be_bytes([high, low]);
                let Some(Asked { number, at }) = self.asked[usize::from(id)].take() else {
                    tally.stray += 1;
                    continue;
                };
                let expected = workload.write(number, message);
                match reply::judge(datagram.bytes, message, expected) {
                    Ok(()) => tally.answer(now - at),
                    Err(complaint) => tally.complain(complaint),
                }
            }
            if count < BATCH {
                return;
            }
        }
    }
}
