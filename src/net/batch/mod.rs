//! Batched datagrams: many are received or sent with one system call, on platforms that have such calls.
//!
//! [`ReceiveBatch`] holds received datagrams, [`SendBatch`] those to send. A reply goes to the [`Peer`] of its request,
//! and leaves from the address that the request was sent to.

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

/// The sender of a datagram, and which of our addresses it was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its sender.
    pub address: SocketAddr,
    /// Our address, if the socket reports it; see [`tell_local_address`].
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
    /// The payload, truncated to the batch's buffer size.
    pub bytes: &'a [u8],
    /// The sender.
    pub peer: Peer,
    /// True if the payload was truncated.
    pub is_cut: bool,
}

/// Whether receiving waits if no datagram is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait until a datagram arrives or the socket's read timeout expires.
    ForOne,
    /// Do not wait.
    No,
}

/// The result of sending a batch.
#[derive(Debug, Default)]
pub struct Sent {
    /// Datagrams passed to the network.
    pub sent: usize,
    /// Indexes in the batch of the datagrams that failed, and why.
    pub failed: Vec<(usize, io::Error)>,
    /// Sockets that had a full send buffer.
    pub full: usize,
    /// Datagrams at the end of the batch that were dropped because all send buffers were full.
    pub blocked: usize,
}

/// Sends datagrams 0 to `posted`. `send` sends all datagrams from an index on through one socket and returns how many
/// were sent; it fails only if the first one fails. `is_connected` says whether a datagram goes to the socket's
/// connected peer.
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
            // A connected socket reports an earlier ICMP error instead of sending.
            Err(_) if is_connected(at) && reports < MAX_REPORTS => reports += 1,
            Err(error) => {
                done.failed.push((at, error));
                (at, reports) = (at + 1, 0);
            }
        }
    }
    done
}

/// ICMP errors that a connected socket may report before one datagram is given up. Each is reported once, instead of
/// sending, and anyone who guesses the port can forge one.
pub const MAX_REPORTS: usize = 16;
