//! [`TcpLoad`]: queries over a few TCP connections, each with several outstanding (RFC 7766 6.2.1.1).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::flight::Flight;
use super::tally::Tally;
use super::workload::Workload;
use super::{EXPIRY, Load, Pace};

/// Connections that send the next query when a reply comes, and reconnect when the server closes them.
pub(crate) struct TcpLoad {
    server: SocketAddr,
    connections: Vec<Connection>,
    pace: Pace,
}

struct Connection {
    stream: TcpStream,
    flight: Flight,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl TcpLoad {
    /// Opens `connections` connections to one server, with at most `outstanding` queries on each.
    pub(crate) fn new(
        server: SocketAddr,
        connections: usize,
        outstanding: usize,
        pace: Pace,
    ) -> io::Result<Self> {
        let connection = |_| {
            Ok(Connection {
                stream: connect(server)?,
                flight: Flight::new(outstanding),
                incoming: Vec::new(),
                outgoing: Vec::new(),
            })
        };
        Ok(Self { server, connections: (0..connections).map(connection).collect::<io::Result<_>>()?, pace })
    }

    /// Sets the pace.
    pub(crate) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }
}

impl Load for TcpLoad {
    fn run(&mut self, workload: &mut Workload, is_over: &dyn Fn() -> bool) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut next_expiry = Instant::now() + EXPIRY;
        self.pace.begin(Instant::now());
        while !is_over() {
            let now = Instant::now();
            for connection in &mut self.connections {
                // Whatever closed the connection, the client reconnects (RFC 7766 6.2.4).
                if connection.exchange(workload, &mut self.pace, &mut tally).is_err() {
                    connection.flight.abort(&mut tally);
                    connection.incoming.clear();
                    connection.outgoing.clear();
                    connection.stream = connect(self.server)?;
                }
            }
            let mut descriptors: Vec<PollFd<'_>> =
                self.connections.iter().map(Connection::waits_for).collect();
            poll(&mut descriptors, PollTimeout::from(self.pace.tick()))?;
            if now >= next_expiry {
                self.connections.iter_mut().for_each(|connection| connection.flight.expire(now, &mut tally));
                next_expiry = now + EXPIRY;
            }
        }
        Ok(tally)
    }
}

impl Connection {
    fn waits_for(&self) -> PollFd<'_> {
        let writing = if self.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        PollFd::new(self.stream.as_fd(), PollFlags::POLLIN | writing)
    }

    /// Reads replies and sends as many queries.
    fn exchange(&mut self, workload: &mut Workload, pace: &mut Pace, tally: &mut Tally) -> io::Result<()> {
        self.read()?;
        let now = Instant::now();
        let mut rest = self.incoming.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<2>()
            && let Some((reply, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        {
            self.flight.land(reply, now, tally);
            rest = after;
        }
        let taken = self.incoming.len() - rest.len();
        self.incoming.drain(..taken);
        while pace.allows(now)
            && let Some(query) = self.flight.launch(workload, now)
        {
            pace.count();
            tally.sent += 1;
            self.outgoing.extend_from_slice(&(query.len() as u16).to_be_bytes());
            self.outgoing.extend_from_slice(query);
        }
        self.write()
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1 << 14];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.incoming.extend_from_slice(&buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.outgoing) {
            Ok(length) => {
                self.outgoing.drain(..length);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
