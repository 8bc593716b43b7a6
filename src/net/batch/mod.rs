//! Datagrams in batches: many are received and sent with one system call, where the platform has such calls.
//!
//! [`ReceiveBatch`] holds what came, [`SendBatch`] what is to go. A reply goes to the [`Peer`] its request came from, and
//! leaves from the address the peer asked.

#[cfg(target_os = "linux")]
mod linux;
pub mod plain;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

#[cfg(target_os = "linux")]
pub use linux::{ReceiveBatch, SendBatch, dropped_by_kernel, tell_local_address};
#[cfg(not(target_os = "linux"))]
pub use plain::{ReceiveBatch, SendBatch, dropped_by_kernel, tell_local_address};

/// Where a datagram came from, and which of our addresses it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its sender.
    pub address: SocketAddr,
    /// Our address, where the socket tells it; see [`tell_local_address`].
    local: Option<IpAddr>,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self { address, local: None }
    }
}

/// One received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// What was sent, cut at the batch's room.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: Peer,
    /// More was sent than there was room for.
    pub is_cut: bool,
}

/// Whether receiving waits where nothing has come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until there is a datagram, or the socket's read timeout is over.
    ForOne,
    /// Not at all.
    No,
}

/// What became of a batch that was sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// How many datagrams were handed to the network.
    pub sent: usize,
    /// Places within the batch of those it would not take, and why.
    pub failed: Vec<(usize, std::io::Error)>,
    /// How many sockets had a full send buffer.
    pub full: usize,
    /// How many datagrams, at the end of the batch, were dropped because that was so for all sockets.
    pub blocked: usize,
}

/// ICMP errors that a connected socket may report before one datagram is given up: each is reported once, in place of
/// sending, and anyone who guesses the port can forge one.
pub const MAX_REPORTS: usize = 16;
