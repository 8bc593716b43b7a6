//! The same with one datagram a call, for platforms without batched calls. Replies leave from the address the route gives.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::{Datagram, Peer, Sent, Wait, send_all};

/// Datagrams received together: here always one.
pub struct ReceiveBatch {
    buffer: Vec<u8>,
    received: Option<(usize, SocketAddr)>,
}

impl ReceiveBatch {
    /// Room for a datagram of `room` bytes.
    pub fn new(_capacity: usize, room: usize) -> Self {
        // One byte more, by which a datagram that was cut is known.
        Self { buffer: vec![0; room + 1], received: None }
    }

    /// Receives a datagram in place of the one before; says how many there are.
    pub fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        self.received = None;
        if wait == Wait::No {
            socket.set_nonblocking(true)?;
        }
        let received = socket.recv_from(&mut self.buffer);
        if wait == Wait::No {
            socket.set_nonblocking(false)?;
        }
        self.received = Some(received?);
        Ok(1)
    }

    /// How many datagrams one call can receive.
    pub fn capacity(&self) -> usize {
        1
    }

    /// The datagram.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.datagram(0).into_iter()
    }

    /// Datagram number `index`.
    pub fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let (length, address) = self.received.filter(|_| index == 0)?;
        let room = self.buffer.len() - 1;
        Some(Datagram {
            bytes: &self.buffer[..length.min(room)],
            peer: address.into(),
            is_cut: length > room,
        })
    }
}

/// Datagrams to be sent together.
pub struct SendBatch {
    messages: Vec<Vec<u8>>,
    peers: Vec<Option<Peer>>,
    posted: usize,
}

impl SendBatch {
    /// Room for `capacity` datagrams.
    pub fn new(capacity: usize) -> Self {
        Self { messages: vec![Vec::new(); capacity], peers: vec![None; capacity], posted: 0 }
    }

    /// True where no datagram waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.posted == 0
    }

    /// True where a [`SendBatch::flush`] is due before the next datagram.
    pub fn is_full(&self) -> bool {
        self.posted == self.messages.len()
    }

    /// The buffer of the next datagram, with whatever it held before.
    ///
    /// Panics where the batch is full.
    pub fn draft(&mut self) -> &mut Vec<u8> {
        &mut self.messages[self.posted]
    }

    /// Takes the draft in, to be sent to `peer`.
    pub fn post(&mut self, peer: Peer) {
        self.peers[self.posted] = Some(peer);
        self.posted += 1;
    }

    /// Takes the draft in, to be sent to whom the socket is connected to.
    pub fn post_connected(&mut self) {
        self.peers[self.posted] = None;
        self.posted += 1;
    }

    /// An empty message to `peer`, for the caller to write.
    ///
    /// Panics where the batch is full.
    pub fn push(&mut self, peer: Peer) -> &mut Vec<u8> {
        self.post(peer);
        let message = &mut self.messages[self.posted - 1];
        message.clear();
        message
    }

    /// The `index`th datagram taken in since the batch was empty, also when it was sent.
    pub fn message(&self, index: usize) -> &[u8] {
        &self.messages[index]
    }

    /// Sends all datagrams, in the order they were taken in, and never waits: where the send buffer of one of `sockets` is
    /// full the next one goes on, and behind the last the rest is dropped. A datagram that cannot be sent for another
    /// reason does not hold up the rest.
    pub fn flush<'s>(&mut self, sockets: impl IntoIterator<Item = &'s UdpSocket>) -> Sent {
        let posted = std::mem::take(&mut self.posted);
        let send = |socket: &UdpSocket, at: usize| {
            send(socket, &self.messages[at], self.peers[at])?;
            Ok(1)
        };
        send_all(posted, sockets, send, |at| self.peers[at].is_none())
    }
}

fn send(socket: &UdpSocket, message: &[u8], peer: Option<Peer>) -> io::Result<usize> {
    socket.set_nonblocking(true)?;
    let sent = match peer {
        Some(peer) => socket.send_to(message, peer.address),
        None => socket.send(message),
    };
    socket.set_nonblocking(false)?;
    sent
}

/// Nothing: what it does is Linux' alone.
pub fn tell_local_address(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// None: only Linux tells.
pub fn dropped_by_kernel(_socket: &UdpSocket) -> Option<u32> {
    None
}
