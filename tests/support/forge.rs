//! Sends packets with forged addresses over raw sockets (Linux, root).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// IPPROTO_RAW: the sender writes the IP header.
const RAW: i32 = 255;

/// Length of an IPv4 and a UDP header in bytes.
const HEADERS: [usize; 2] = [20, 8];

/// A raw socket.
pub(crate) fn raw_socket() -> Socket {
    Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).expect("root is required")
}

/// An IPv4 packet with a UDP datagram. The kernel fills in length and checksum of the IP header; the UDP checksum is left out.
pub(crate) fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut packet = ip_header(17, *from.ip(), *to.ip());
    let length = (HEADERS[1] + payload.len()) as u16;
    for field in [from.port(), to.port(), length, 0] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    packet
}

/// An ICMP error from `sender`: the datagram from `from` to `to` found no port (RFC 792: type 3, code 3).
pub(crate) fn port_unreachable(sender: Ipv4Addr, from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&datagram(from, to, &[])[..HEADERS[0] + HEADERS[1]]);
    let total = (HEADERS[0] + HEADERS[1]) as u16;
    message[10..12].copy_from_slice(&total.to_be_bytes());
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = ip_header(1, sender, *from.ip());
    packet.extend_from_slice(&message);
    packet
}

fn ip_header(protocol: u8, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&to.octets());
    header
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Sends packets from `make` to `to`, `rate` per second, until `stop` is set or for a minute; counts them in `sent`.
pub(crate) fn flood(
    to: Ipv4Addr,
    rate: u32,
    stop: &AtomicBool,
    sent: &AtomicUsize,
    mut make: impl FnMut(usize) -> Option<Vec<u8>>,
) {
    let socket = raw_socket();
    let target = SocketAddr::from((to, 0)).into();
    let start = Instant::now();
    let mut count = 0_usize;
    while !stop.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(60) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as usize;
        for _ in 0..due.saturating_sub(count).min(10_000) {
            if let Some(packet) = make(count) {
                let _ = socket.send_to(&packet, &target);
            }
            count += 1;
        }
        count = count.max(due);
        sent.store(count, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
}
