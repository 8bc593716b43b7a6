//! The same API with one datagram per call, for platforms without batched calls. Replies leave from the address that
//! the route gives.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::{Datagram, Peer, Sent, Wait, send_all};

/// A received datagram: here always one.
pub struct ReceiveBatch {
    buffer: Vec<u8>,
    received: Option<(usize, SocketAddr)>,
}

impl ReceiveBatch {
    /// A batch for one datagram of up to `room` bytes.
    pub fn new(_capacity: usize, room: usize) -> Self {
        // One extra byte shows that a datagram was truncated.
        Self { buffer: vec![0; room + 1], received: None }
    }

    /// Receives one datagram, replacing the previous one; returns how many.
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

    /// Most datagrams that one call can receive.
    pub fn capacity(&self) -> usize {
        1
    }

    /// The datagram.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.datagram(0).into_iter()
    }

    /// Datagram `index`.
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

/// Datagrams to send together.
pub struct SendBatch {
    messages: Vec<Vec<u8>>,
    peers: Vec<Option<Peer>>,
    posted: usize,
}

impl SendBatch {
    /// A batch for `capacity` datagrams.
    pub fn new(capacity: usize) -> Self {
        Self { messages: vec![Vec::new(); capacity], peers: vec![None; capacity], posted: 0 }
    }

    /// True if no datagram is waiting to be sent.
    pub fn is_empty(&self) -> bool {
        self.posted == 0
    }

    /// True if [`SendBatch::flush`] must be called before the next datagram.
    pub fn is_full(&self) -> bool {
        self.posted == self.messages.len()
    }

    /// The buffer of the next datagram, with its previous contents.
    ///
    /// Panics if the batch is full.
    pub fn draft(&mut self) -> &mut Vec<u8> {
        &mut self.messages[self.posted]
    }

    /// Queues the draft for `peer`.
    pub fn post(&mut self, peer: Peer) {
        self.peers[self.posted] = Some(peer);
        self.posted += 1;
    }

    /// Queues the draft for the socket's connected peer.
    pub fn post_connected(&mut self) {
        self.peers[self.posted] = None;
        self.posted += 1;
    }

    /// Queues an empty message for `peer`, to be written by the caller.
    ///
    /// Panics if the batch is full.
    pub fn push(&mut self, peer: Peer) -> &mut Vec<u8> {
        self.post(peer);
        let message = &mut self.messages[self.posted - 1];
        message.clear();
        message
    }

    /// The `index`th datagram queued since the batch was empty, sent or not.
    pub fn message(&self, index: usize) -> &[u8] {
        &self.messages[index]
    }

    /// Sends all datagrams in order and never blocks. If the send buffer of one of `sockets` is full, the next socket
    /// is used; after the last, the rest is dropped. A datagram that fails for another reason does not delay the
    /// others.
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

/// Does nothing: only Linux supports it.
pub fn tell_local_address(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Always none: only Linux reports it.
pub fn dropped_by_kernel(_socket: &UdpSocket) -> Option<u32> {
    None
}
