//! Batched datagrams with recvmmsg(2) and sendmmsg(2), in unsafe code.
//!
//! Every header passed to the kernel points into vectors of the same batch, whose lengths do not change. All pointers
//! that a call uses are set right before it.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_int, c_uint, cmsghdr, in_addr, in_pktinfo, in6_addr, in6_pktinfo, iovec, mmsghdr, socklen_t};

use super::{Datagram, Peer, Sent, Wait, send_all};

/// Extra bytes between two buffers. They keep the first cache lines of a batch's datagrams, which are the ones read,
/// from competing for the same L1 cache sets.
const OFFSET: usize = 192;

/// Space for one IP_PKTINFO or IPV6_PKTINFO message: a 16-byte header and at most 20 bytes of data, aligned for the
/// kernel.
type Control = [u64; 5];

/// An IPv4 or IPv6 socket address as the kernel reads and writes it.
#[derive(Clone, Copy)]
#[repr(C)]
union Address {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// Datagrams received with one call.
pub struct ReceiveBatch {
    buffers: Vec<u8>,
    stride: usize,
    room: usize,
    addresses: Vec<Address>,
    controls: Vec<Control>,
    parts: Vec<iovec>,
    headers: Vec<mmsghdr>,
    received: usize,
}

impl ReceiveBatch {
    /// A batch for `capacity` datagrams of up to `room` bytes each.
    pub fn new(capacity: usize, room: usize) -> Self {
        let stride = room.next_multiple_of(64) + OFFSET;
        // SAFETY: all of these are plain C structures, for which all-zero bytes are a value.
        let (address, part, header) =
            unsafe { (zeroed::<Address>(), zeroed::<iovec>(), zeroed::<mmsghdr>()) };
        let mut batch = Self {
            buffers: vec![0; capacity * stride],
            stride,
            room,
            addresses: vec![address; capacity],
            controls: vec![Control::default(); capacity],
            parts: vec![part; capacity],
            headers: vec![header; capacity],
            received: capacity,
        };
        batch.arm();
        batch
    }

    /// Receives up to the batch's capacity, replacing the previous datagrams; returns how many.
    ///
    /// Errors: `WouldBlock` if nothing arrived in time, and any other socket error.
    pub fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        self.arm();
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::No => libc::MSG_DONTWAIT,
        };
        let capacity = self.headers.len() as c_uint;
        // SAFETY: `headers` has `capacity` elements, and `arm` has pointed each at memory of the length it states.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), capacity, flags, ptr::null_mut())
        };
        self.received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    /// Most datagrams that one call can receive.
    pub fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// The datagrams of the last [`ReceiveBatch::receive`], in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.received).filter_map(|index| self.datagram(index))
    }

    /// Datagram `index` of the last [`ReceiveBatch::receive`]; none if its sender's address family is unknown.
    pub fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let message = self.headers[..self.received].get(index)?;
        let address = from_kernel(&self.addresses[index], message.msg_hdr.msg_namelen)?;
        let local = match message.msg_hdr.msg_controllen {
            0 => None,
            _ => local_address(&message.msg_hdr),
        };
        Some(Datagram {
            bytes: self.bytes(index),
            peer: Peer { address, local },
            is_cut: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }

    /// The payload of datagram `index`.
    pub fn bytes(&self, index: usize) -> &[u8] {
        let (start, length) = (index * self.stride, self.headers[index].msg_len as usize);
        &self.buffers[start..start + length.min(self.room)]
    }

    /// Resets the headers that the last call used.
    fn arm(&mut self) {
        for index in 0..self.received {
            let header = &mut self.headers[index].msg_hdr;
            let start = index * self.stride;
            self.parts[index] = iovec {
                iov_base: self.buffers[start..start + self.room].as_mut_ptr().cast(),
                iov_len: self.room,
            };
            header.msg_name = (&raw mut self.addresses[index]).cast();
            header.msg_namelen = size_of::<Address>() as socklen_t;
            header.msg_iov = &raw mut self.parts[index];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut self.controls[index]).cast();
            header.msg_controllen = size_of::<Control>() as _;
            header.msg_flags = 0;
        }
        self.received = 0;
    }
}

// SAFETY: all pointers point into vectors of the same batch, which move with it.
unsafe impl Send for ReceiveBatch {}
// SAFETY: as above.
unsafe impl Send for SendBatch {}

/// Datagrams to send with one call.
pub struct SendBatch {
    messages: Vec<Vec<u8>>,
    addresses: Vec<(Address, socklen_t)>,
    controls: Vec<(Control, usize)>,
    parts: Vec<iovec>,
    headers: Vec<mmsghdr>,
    posted: usize,
}

impl SendBatch {
    /// Room for `capacity` datagrams.
    pub fn new(capacity: usize) -> Self {
        // SAFETY: all of these are plain C structures, for which all-zero bytes are a value.
        let (address, part, header) =
            unsafe { (zeroed::<Address>(), zeroed::<iovec>(), zeroed::<mmsghdr>()) };
        Self {
            messages: vec![Vec::new(); capacity],
            addresses: vec![(address, 0); capacity],
            controls: vec![(Control::default(), 0); capacity],
            parts: vec![part; capacity],
            headers: vec![header; capacity],
            posted: 0,
        }
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

    /// Queues the draft for `peer`, to be sent from the address that the peer queried.
    pub fn post(&mut self, peer: Peer) {
        self.addresses[self.posted] = to_kernel(peer.address);
        self.controls[self.posted].1 = match peer.local {
            None => 0,
            Some(local) => write_source(&mut self.controls[self.posted].0, local),
        };
        self.posted += 1;
    }

    /// Queues the draft for the socket's connected peer.
    pub fn post_connected(&mut self) {
        self.addresses[self.posted].1 = 0;
        self.controls[self.posted].1 = 0;
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
        for index in 0..posted {
            let message = &mut self.messages[index];
            self.parts[index] = iovec { iov_base: message.as_mut_ptr().cast(), iov_len: message.len() };
            let header = &mut self.headers[index].msg_hdr;
            let (address, length) = &mut self.addresses[index];
            header.msg_name = if *length == 0 { ptr::null_mut() } else { (&raw mut *address).cast() };
            header.msg_namelen = *length;
            header.msg_iov = &raw mut self.parts[index];
            header.msg_iovlen = 1;
            let (control, length) = &mut self.controls[index];
            header.msg_control = if *length == 0 { ptr::null_mut() } else { (&raw mut *control).cast() };
            header.msg_controllen = *length as _;
        }
        // The call stops at the first message that fails, and reports the error only if that is the first one.
        let send = |socket: &UdpSocket, at: usize| {
            let rest = &mut self.headers[at..posted];
            // SAFETY: `rest` has the length passed, and each header points at a message, an address and a control block
            // of this batch with their lengths.
            let sent = unsafe {
                let length = rest.len() as c_uint;
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), length, libc::MSG_DONTWAIT)
            };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        };
        send_all(posted, sockets, send, |at| self.addresses[at].1 == 0)
    }
}

/// Makes a socket report the destination address of each datagram. A socket bound to `0.0.0.0` or `::` needs it:
/// otherwise the kernel chooses a reply's source address by route, and a client that queried another of the host's
/// addresses ignores the reply. It adds a fifth to the kernel's cost per datagram.
pub fn tell_local_address(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = match socket.local_addr()? {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: c_int = 1;
    // SAFETY: the value is an int of the length passed.
    let result = unsafe {
        let length = size_of::<c_int>() as socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams that the kernel has dropped since the socket was bound, because its receive buffer was full; none if the
/// kernel does not report it (Linux does since 4.12).
pub fn dropped_by_kernel(socket: &UdpSocket) -> Option<u32> {
    /// Index of the count in SO_MEMINFO's values (linux/sock_diag.h).
    const DROPS: usize = 8;
    let mut values = [0_u32; DROPS + 1];
    let mut length = size_of_val(&values) as socklen_t;
    // SAFETY: the buffer has the length passed.
    let result = unsafe {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_MEMINFO);
        libc::getsockopt(socket.as_raw_fd(), level, option, values.as_mut_ptr().cast(), &raw mut length)
    };
    (result == 0 && length as usize == size_of_val(&values)).then_some(values[DROPS])
}

fn from_kernel(address: &Address, length: socklen_t) -> Option<SocketAddr> {
    if (length as usize) < size_of::<libc::sockaddr_in>() {
        return None;
    }
    // SAFETY: every member begins with the family, and the kernel has written the member that the family names. The
    // union was all zero before, so all its bytes are initialized.
    unsafe {
        match c_int::from(address.family) {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(address.v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(address.v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6 = address.v6;
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

fn to_kernel(address: SocketAddr) -> (Address, socklen_t) {
    match address {
        SocketAddr::V4(v4) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            (Address { v4 }, size_of::<libc::sockaddr_in>() as socklen_t)
        }
        SocketAddr::V6(v6) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (Address { v6 }, size_of::<libc::sockaddr_in6>() as socklen_t)
        }
    }
}

/// The destination address of a datagram, from its control messages.
fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel has filled the control block and set its length. The macros stay within it, and each message's
    // data is read unaligned, and only if its header says it is there.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = message.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<in_pktinfo>().read_unaligned();
                    return Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<in6_pktinfo>().read_unaligned();
                    return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => message = libc::CMSG_NXTHDR(header, control),
            }
        }
    }
    None
}

/// Writes the control message that sets a datagram's source address. Interface 0 leaves the choice to the routing
/// table.
fn write_source(control: &mut Control, local: IpAddr) -> usize {
    match local {
        IpAddr::V4(ip) => {
            let source = in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
            write_control(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        IpAddr::V6(ip) => {
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
            write_control(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

/// Writes one control message; returns the length of the control block.
fn write_control<T>(control: &mut Control, level: c_int, kind: c_int, data: T) -> usize {
    let length = size_of::<T>() as c_uint;
    // SAFETY: a control block has space for a header and either kind of data, as the assertion checks, and is aligned
    // for the header. The data is written unaligned.
    unsafe {
        let space = libc::CMSG_SPACE(length) as usize;
        assert!(space <= size_of::<Control>());
        let header = control.as_mut_ptr().cast::<cmsghdr>();
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(length) as _;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(data);
        space
    }
}
