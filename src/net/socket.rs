//! [`Endpoint`]: the sockets of one listen address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::reply_socket::ReplySocket;

/// Receive buffer asked for each UDP socket, in bytes: a burst of some 10,000 queries. The kernel gives less where
/// `net.core.rmem_max` is lower.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Send buffers that one worker's replies have together, in bytes as the kernel counts them: some 10,000 replies that wait,
/// mostly for the link addresses of clients that are not there.
const SEND_BUFFERS: usize = 8 * 1024 * 1024;

/// Sockets that one worker sends through at most, where the kernel gives each a small buffer only
/// (`net.core.wmem_max` is 208 KiB on older ones).
const SENDERS: usize = 16;

/// Connections the kernel holds for us until they are accepted; its own limit since Linux 5.4 (`net.core.somaxconn`). When it
/// is full, clients try again a second later: it has to hold what comes while a burst is accepted.
const BACKLOG: i32 = 4096;

/// Time between two looks whether an address is free.
const TRY_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// Tries to find a port free for UDP and TCP alike, where port 0 asks for any.
const ANY_PORT_TRIES: usize = 16;

/// The sockets of one listen address: one UDP socket per worker, and one TCP listener, all on the same port.
#[derive(Debug)]
pub struct Endpoint {
    /// The address, with the port the kernel gave where 0 was asked for.
    pub address: SocketAddr,
    /// One socket per worker; the kernel spreads clients over them (SO_REUSEPORT).
    pub udp: Vec<ReplySocket>,
    /// The listener.
    pub tcp: TcpListener,
    /// Whoever started this process has the sockets too, and will hand them to the next one.
    pub is_inherited: bool,
}

/// Why an address cannot be listened on, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({protocol}): {error}{}", remedy(error))]
pub struct BindError {
    address: SocketAddr,
    protocol: &'static str,
    error: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    #[cfg(target_os = "linux")]
    if error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return "\n  help: this host has no IPv6; take the IPv6 addresses out of `listen` in [server], or enable IPv6 \
                (`ipv6.disable=1` on the kernel's command line turns it off)";
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "\n  help: ports below 1024 need a capability: \
             `setcap cap_net_bind_service=+ep namegate`, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit"
        }
        io::ErrorKind::AddrInUse => {
            "\n  help: another server holds the port (`ss -lunp` names it; on Ubuntu it is often systemd-resolved \
             on 127.0.0.53); stop it, or set `listen` in [server] to another address; for one gate to take over from \
             another, set `reuse_port = true` for both"
        }
        io::ErrorKind::AddrNotAvailable => {
            "\n  help: this host has no such address; `ip address` lists what it has"
        }
        _ => "",
    }
}

impl Endpoint {
    /// Binds `address` for `workers` UDP workers (at least one) and TCP; where `reuse_port` says so others may bind it too.
    pub fn bind(address: SocketAddr, workers: usize, reuse_port: bool) -> Result<Self, BindError> {
        let mut tries = if address.port() == 0 { ANY_PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match Self::bind_once(address, workers, reuse_port) {
                Err(error) if error.error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    fn bind_once(address: SocketAddr, workers: usize, reuse_port: bool) -> Result<Self, BindError> {
        let failed = |protocol| move |error| BindError { address, protocol, error };
        // TCP first: without SO_REUSEPORT a second gate by mistake is told of the first before it takes a query.
        let tcp = bind_tcp(address, reuse_port).map_err(failed("tcp"))?;
        let bound = tcp.local_addr().map_err(failed("tcp"))?;
        let mut udp = Vec::with_capacity(workers);
        for _ in 0..workers.max(1) {
            let socket = bind_udp(bound).map_err(failed("udp"))?;
            let spares = spare_senders(&socket, bound);
            udp.push(ReplySocket::new(socket, spares));
        }
        Ok(Self { address: bound, udp, tcp, is_inherited: false })
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    // The kernel may refuse or cut this; smaller buffers only shorten the bursts that fit.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    enlarge_send_buffer(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Asks for all of a worker's send buffer in one socket. The kernel gives twice what is asked for, within its limit.
pub(crate) fn enlarge_send_buffer(socket: &Socket) {
    let _ = socket.set_send_buffer_size(SEND_BUFFERS / 2);
}

/// Sockets of the same port that only send, where one send buffer is small. Fewer than wanted only make fewer replies fit.
fn spare_senders(socket: &UdpSocket, bound: SocketAddr) -> Vec<UdpSocket> {
    let buffer = SockRef::from(socket).send_buffer_size().unwrap_or(SEND_BUFFERS).max(1);
    let spare = || -> io::Result<UdpSocket> {
        let spare = bind_udp(bound)?;
        take_no_more_datagrams(&spare)?;
        Ok(spare)
    };
    (1..(SEND_BUFFERS / buffer).min(SENDERS)).map_while(|_| spare().ok()).collect()
}

/// A TCP listener at `address` that never blocks; where `reuse_port` says so others may listen there too.
pub fn bind_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A TCP listener that waits for its address until another process lets go of it.
#[derive(Debug)]
pub struct AwaitedListener {
    socket: Socket,
    address: SocketAddr,
}

impl AwaitedListener {
    /// One that will listen at `address`.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        Ok(Self { socket, address })
    }

    /// Where it will listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket.
    #[cfg(target_os = "linux")]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }

    /// Waits until the address is free, and listens there, without blocking.
    ///
    /// Errors: the address cannot be had for another reason than that it is in use.
    pub async fn open(self) -> io::Result<TcpListener> {
        let Self { socket, address } = self;
        loop {
            match socket.bind(&address.into()) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::time::sleep(TRY_AGAIN).await,
                bound => break bound?,
            }
        }
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] are two addresses and may both be listened on.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// The discard port: nobody sends from it.
const DISCARD: u16 = 9;

/// Lets a socket take no new datagrams; it still holds those that came before, and can send.
///
/// A connected socket takes datagrams from the address it is connected to alone, and the kernel gives all others to the other
/// sockets of the port (since Linux 5.3), or tells their senders that nobody listens.
pub fn take_no_more_datagrams(socket: &UdpSocket) -> io::Result<()> {
    let nobody: IpAddr = match socket.local_addr()? {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    socket.connect((nobody, DISCARD))
}

/// Lets a listener take no new connections; those whose handshake has begun are still to be accepted.
///
/// The first segment of a handshake is dropped, so that the client sends it again a second later: to whoever listens then.
#[cfg(target_os = "linux")]
pub fn take_no_more_connections(listener: &TcpListener) -> io::Result<()> {
    let instruction = |code: u32, jt, jf, k| socket2::SockFilter::new(code as u16, jt, jf, k);
    // Byte 13 of the TCP header has the flags (RFC 9293 section 3.1): SYN is 0x02, ACK 0x10.
    let drop_first_segments = [
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x12),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0x02),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&drop_first_segments)
}

/// The same where there is no such means: connections that come at the last moment are lost.
#[cfg(not(target_os = "linux"))]
pub fn take_no_more_connections(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// True where `address` belongs to this host: an address can be bound only where it is local.
///
/// Where any can be bound (`net.ipv4.ip_nonlocal_bind`, which hosts with keepalived or HAProxy set) it is one that a socket
/// connected to it would send from.
pub fn is_own_address(address: IpAddr) -> bool {
    // Addresses for documentation, which no host has (RFC 5737, RFC 3849).
    let nobodys: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let can_bind = |address| UdpSocket::bind((address, 0)).is_ok();
    can_bind(address) && (address.is_loopback() || !can_bind(nobodys) || sends_from(address) == Some(address))
}

/// The address that a socket connected to `target` sends from; none where there is no way there. Nothing is sent.
fn sends_from(target: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((target, DISCARD)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address to send to for a server that listens on `address`: a wildcard is reached through loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_host_without_ipv6_is_told_of_its_listen_addresses() {
        let error = io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
        let error = BindError { address: "[::]:53".parse().unwrap(), protocol: "tcp", error };
        assert!(error.to_string().contains("take the IPv6 addresses out of `listen`"), "{error}");
    }

    #[test]
    fn wildcards_are_reached_through_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:9153"), "127.0.0.1:9153");
        assert_eq!(reached("[::]:9153"), "[::1]:9153");
        assert_eq!(reached("10.0.0.4:9153"), "10.0.0.4:9153");
    }
}
