//! [`DatagramSocket`]: UDP whose replies leave from the address that was asked.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Where a datagram came from, and which of our addresses it was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its sender.
    pub address: SocketAddr,
    /// Our address, where the socket is bound to none in particular.
    local: Option<IpAddr>,
}

/// A bound UDP socket.
///
/// Bound to `0.0.0.0` or `::` the kernel would choose a reply's source address by route, and a client that asked
/// another of the host's addresses would not take the reply for its own. So each datagram's destination is asked for
/// (IP_PKTINFO, IPV6_RECVPKTINFO), which costs time, and only there.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    any_address: bool,
}

impl DatagramSocket {
    /// Takes over a bound socket whose receiving gives up after `idle`.
    pub fn new(socket: UdpSocket, idle: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(idle))?;
        let address = socket.local_addr()?;
        let any_address = cfg!(target_os = "linux") && address.ip().is_unspecified();
        #[cfg(target_os = "linux")]
        if any_address {
            packet_info::ask_for(&socket, address.is_ipv6())?;
        }
        Ok(Self { socket, any_address })
    }

    /// Receives one datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        #[cfg(target_os = "linux")]
        if self.any_address {
            return packet_info::receive(&self.socket, buffer);
        }
        let (length, address) = self.socket.recv_from(buffer)?;
        Ok((length, Peer { address, local: None }))
    }

    /// Sends `reply` to a peer, from the address it asked.
    pub fn reply(&self, reply: &[u8], peer: Peer) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(local) = peer.local.filter(|_| self.any_address) {
            return packet_info::send(&self.socket, reply, peer.address, local);
        }
        self.socket.send_to(reply, peer.address).map(drop)
    }
}

/// The part of the sockets API that std leaves out.
#[cfg(target_os = "linux")]
mod packet_info {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;

    use nix::libc;
    use nix::sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
    };

    use super::Peer;

    pub(super) fn ask_for(socket: &UdpSocket, ipv6: bool) -> io::Result<()> {
        match ipv6 {
            true => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            false => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        }
        Ok(())
    }

    pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        let mut control = [0; 128];
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let local = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::from(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(IpAddr::from(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
            }
            _ => None,
        });
        let address = received.address.as_ref().and_then(to_std).ok_or(io::ErrorKind::InvalidData)?;
        Ok((received.bytes, Peer { address, local }))
    }

    pub(super) fn send(socket: &UdpSocket, reply: &[u8], to: SocketAddr, from: IpAddr) -> io::Result<()> {
        let parts = [IoSlice::new(reply)];
        let to = SockaddrStorage::from(to);
        let (v4, v6);
        let control = match from {
            IpAddr::V4(from) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
                // Interface 0 and no header address: the route decides all but the source.
                let unset = libc::in_addr { s_addr: 0 };
                v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: unset };
                ControlMessage::Ipv4PacketInfo(&v4)
            }
            IpAddr::V6(from) => {
                let source = libc::in6_addr { s6_addr: from.octets() };
                v6 = libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: source };
                ControlMessage::Ipv6PacketInfo(&v6)
            }
        };
        sendmsg(socket.as_raw_fd(), &parts, &[control], MsgFlags::empty(), Some(&to))?;
        Ok(())
    }

    fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(SocketAddr::from((v4.ip(), v4.port())));
        }
        let v6 = address.as_sockaddr_in6()?;
        Some(std::net::SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
    }
}
