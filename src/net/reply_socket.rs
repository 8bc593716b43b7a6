//! [`ReplySocket`]: the socket a worker receives from, and the sockets that its replies leave through.
//!
//! A reply to an on-link client that does not answer ARP or neighbour discovery stays in the send buffer for some
//! seconds. An attacker who forges such addresses can fill the buffer. A send therefore never blocks: if a buffer is
//! full, the next socket is used; if all are full, the reply is dropped and counted. An unprivileged socket on Linux
//! gets only `net.core.wmem_max` bytes of send buffer, hence the spare sockets. They are bound to the same port and
//! connected to the discard port, so the kernel delivers no client datagrams to them.

use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use strum::VariantArray;

use super::batch::{SendBatch, dropped_by_kernel};
use crate::util::log_event::log;
use crate::util::sync::lock;

/// A worker's receiving socket and its spare sending sockets; see the module documentation.
#[derive(Debug)]
pub struct ReplySocket {
    /// The first one also receives.
    sockets: Box<[UdpSocket]>,
    /// Index of the socket whose buffer last had room.
    current: AtomicUsize,
    drops: [AtomicU64; SendDrop::VARIANTS.len()],
    receive_drops: Mutex<WrappingCount>,
}

/// A 64-bit count made from the kernel's 32-bit one. It must be read at least once per 4,294,967,296 events.
#[derive(Debug, Default)]
struct WrappingCount {
    last: u32,
    total: u64,
}

impl WrappingCount {
    /// The total so far, given the kernel's current `count`.
    fn read(&mut self, count: u32) -> u64 {
        self.total += u64::from(count.wrapping_sub(self.last));
        self.last = count;
        self.total
    }
}

/// Why a reply over UDP was dropped; the label `reason` of `udp_send_drops_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum SendDrop {
    /// All send buffers are full.
    BufferFull,
    /// The host or network refused it: no route, a firewall rule, an unreachable client.
    Refused,
}

impl ReplySocket {
    /// Receives from `socket`, and sends through it and `spares`.
    pub fn new(socket: UdpSocket, spares: Vec<UdpSocket>) -> Self {
        let sockets = std::iter::once(socket).chain(spares).collect();
        let (drops, receive_drops) = (Default::default(), Mutex::default());
        Self { sockets, current: AtomicUsize::new(0), drops, receive_drops }
    }

    /// The receiving socket.
    pub fn receiving(&self) -> &UdpSocket {
        &self.sockets[0]
    }

    /// The send-only sockets. Before they were connected, the kernel may have delivered datagrams to them.
    pub fn spares(&self) -> &[UdpSocket] {
        &self.sockets[1..]
    }

    /// Sends the `replies` that fit into a buffer and counts the others as dropped: a real client retries.
    pub fn send(&self, replies: &mut SendBatch) {
        let current = self.current.load(Ordering::Relaxed);
        let (before, from) = self.sockets.split_at(current);
        let sent = replies.flush(from.iter().chain(before));
        if sent.full > 0 {
            self.current.store((current + sent.full) % self.sockets.len(), Ordering::Relaxed);
        }
        if sent.blocked > 0 {
            self.drops[SendDrop::BufferFull as usize].fetch_add(sent.blocked as u64, Ordering::Relaxed);
        }
        for (_, error) in sent.failed {
            self.drops[SendDrop::Refused as usize].fetch_add(1, Ordering::Relaxed);
            log!(SocketError, "cannot send over UDP: {error}");
        }
    }

    /// Datagrams that the kernel has dropped because the receive buffer was full; none if the kernel does not report
    /// it.
    pub fn receive_drops(&self) -> Option<u64> {
        let count = dropped_by_kernel(self.receiving())?;
        Some(lock(&self.receive_drops).read(count))
    }

    /// Replies dropped so far, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (SendDrop, u64)> {
        SendDrop::VARIANTS
            .iter()
            .copied()
            .zip(&self.drops)
            .map(|(why, count)| (why, count.load(Ordering::Relaxed)))
    }

    /// True if some send buffer has room.
    #[cfg(target_os = "linux")]
    pub fn can_send(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut sockets: Vec<PollFd<'_>> =
            self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
        // If poll fails, assume that there is room.
        poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Always true: not known on this platform.
    #[cfg(not(target_os = "linux"))]
    pub fn can_send(&self) -> bool {
        true
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A socket whose buffer fills up because its peer does not read.
    fn local_pair() -> (UdpSocket, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().unwrap();
        (OwnedFd::from(near).into(), far)
    }

    #[test]
    fn the_kernels_count_may_wrap() {
        let mut count = WrappingCount::default();
        let read: Vec<u64> = [7, 7, u32::MAX - 1, 3, 3].map(|now| count.read(now)).into();
        assert_eq!(read, [7, 7, 4_294_967_294, 4_294_967_299, 4_294_967_299]);
    }

    #[test]
    fn full_buffers_are_passed_over_and_drops_are_counted() {
        let ((first, _first_peer), (spare, spare_peer)) = (local_pair(), local_pair());
        let socket = ReplySocket::new(first, vec![spare]);
        let mut replies = SendBatch::new(1);
        let mut send = || {
            replies.draft().clear();
            replies.post_connected();
            socket.send(&mut replies);
            socket.drops().map(|(_, count)| count).sum::<u64>()
        };
        let sent = (0..10_000).take_while(|_| send() == 0).count();
        assert!(sent > 0 && !socket.can_send(), "{sent} datagrams fill both");
        assert_eq!(socket.drops().collect::<Vec<_>>(), [(SendDrop::BufferFull, 1), (SendDrop::Refused, 0)]);
        spare_peer.set_nonblocking(true).unwrap();
        while spare_peer.recv(&mut [0; 1]).is_ok() {}
        assert!(socket.can_send());
        assert_eq!(send(), 1, "the socket with room is used");
    }
}
