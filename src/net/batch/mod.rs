//! Datagrams in batches: many are received and sent with one system call, where the platform has such calls.
//!
//! [`ReceiveBatch`] holds what came, [`SendBatch`] what is to go. A reply goes to the [`Peer`] its request came from, and
//! leaves from the address the peer asked.

#[cfg(target_os = "linux")]
mod linux;
pub mod plain;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

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
    pub failed: Vec<(usize, io::Error)>,
    /// How many sockets had a full send buffer.
    pub full: usize,
    /// How many datagrams, at the end of the batch, were dropped because that was so for all sockets.
    pub blocked: usize,
}

/// Sends datagrams 0 to `posted` as `send` does: all from one on through a socket, giving how many were sent, where it was not
/// the first that failed. `is_connected` says of which the socket itself knows the receiver.
///
/// See [`SendBatch::flush`].
fn send_all<'s>(
    posted: usize,
    sockets: impl IntoIterator<Item = &'s UdpSocket>,
    mut send: impl FnMut(&UdpSocket, usize) -> io::Result<usize>,
    is_connected: impl Fn(usize) -> bool,
) -> Sent {
    let mut done = Sent::default();
    let mut sockets = sockets.into_iter();
    let mut socket = sockets.next();
    let (mut at, mut reports) = (0, 0);
    while at < posted {
        let Some(current) = socket else {
            done.blocked = posted - at;
            break;
        };
        match send(current, at) {
            Ok(sent) => (at, reports, done.sent) = (at + sent, 0, done.sent + sent),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket = sockets.next();
                done.full += 1;
            }
            // A connected socket reports an ICMP error that came before in place of sending.
            Err(_) if is_connected(at) && reports < MAX_REPORTS => reports += 1,
            Err(error) => {
                done.failed.push((at, error));
                (at, reports) = (at + 1, 0);
            }
        }
    }
    done
}

/// ICMP errors that a connected socket may report before one datagram is given up: each is reported once, in place of
/// sending, and anyone who guesses the port can forge one.
pub const MAX_REPORTS: usize = 16;
