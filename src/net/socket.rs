//! [`Endpoint`]: the sockets of one listen address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::port_holder::{OWN_NAME, PortHolder};
use super::reply_socket::ReplySocket;

/// Requested receive buffer of each UDP socket, in bytes: a burst of some 10,000 queries. The kernel grants less if
/// `net.core.rmem_max` is lower.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// Total send buffer of one worker, in bytes as the kernel counts them: some 10,000 waiting replies, mostly for clients
/// whose link address does not resolve.
const SEND_BUFFERS: usize = 8 * 1024 * 1024;

/// Most sockets that one worker sends through. Several are needed where the kernel grants only a small buffer per
/// socket (`net.core.wmem_max` is 208 KiB on older kernels).
const SENDERS: usize = 16;

/// Connections that the kernel queues until they are accepted; equals the kernel's own limit since Linux 5.4
/// (`net.core.somaxconn`). If the queue is full, clients retry after a second, so it must hold what arrives while a
/// burst is accepted.
const BACKLOG: i32 = 4096;

/// Interval for checking whether an address is free.
const TRY_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// Attempts to find a port that is free for both UDP and TCP, if port 0 was requested.
const ANY_PORT_TRIES: usize = 16;

/// The sockets of one listen address: one UDP socket per worker, and one TCP listener, all on the same port.
#[derive(Debug)]
pub struct Endpoint {
    /// The address, with the port that the kernel chose if 0 was requested.
    pub address: SocketAddr,
    /// One socket per worker; the kernel distributes clients over them (SO_REUSEPORT).
    pub udp: Vec<ReplySocket>,
    /// The TCP listener.
    pub tcp: TcpListener,
    /// True if the sockets were inherited: the parent process keeps them and passes them to the next process.
    pub is_inherited: bool,
}

/// What an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Queries over UDP.
    Udp,
    /// Queries over TCP.
    Tcp,
    /// The admin listener.
    Http,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }

    /// The setting that has the address.
    fn setting(self) -> &'static str {
        match self {
            Self::Udp | Self::Tcp => "server.listen",
            Self::Http => "admin.listen",
        }
    }
}

/// Why binding an address failed, and how to fix it.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} ({}): {error}{}{}",
    purpose.name(),
    holder.as_ref().map(|holder| format!(": {holder}")).unwrap_or_default(),
    self.remedy()
)]
pub struct BindError {
    address: SocketAddr,
    purpose: Purpose,
    error: io::Error,
    /// The program that uses the port, if it is known.
    holder: Option<PortHolder>,
}

impl BindError {
    fn new(address: SocketAddr, purpose: Purpose, error: io::Error) -> Self {
        let protocol = if purpose == Purpose::Udp { "udp" } else { "tcp" };
        let is_used = error.kind() == io::ErrorKind::AddrInUse;
        let holder = is_used.then(|| PortHolder::find(address, protocol)).flatten();
        Self { address, purpose, error, holder }
    }

    /// True if another program uses the port.
    pub fn is_in_use(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }

    /// True if a running namegate may be what uses the port: it does, a socket unit of systemd does, or the program is
    /// unknown.
    pub fn may_be_own(&self) -> bool {
        let program = self.holder.as_ref().and_then(PortHolder::program);
        self.is_in_use() && program.is_none_or(|program| [OWN_NAME, SYSTEMD].contains(&program))
    }

    fn remedy(&self) -> String {
        let setting = self.purpose.setting();
        #[cfg(target_os = "linux")]
        if self.error.raw_os_error() == Some(libc::EAFNOSUPPORT) {
            return format!(
                "\n  help: this host has no IPv6: remove the IPv6 addresses from `{setting}`, or enable IPv6 (the kernel \
                 parameter `ipv6.disable=1` disables it)"
            );
        }
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => {
                "\n  help: allow ports below 1024: run `setcap cap_net_bind_service=+ep namegate`, or set \
                 `AmbientCapabilities=CAP_NET_BIND_SERVICE` in the systemd unit"
                    .to_owned()
            }
            io::ErrorKind::AddrInUse => format!("\n  help: {}", self.remedy_for_holder()),
            io::ErrorKind::AddrNotAvailable => format!(
                "\n  help: this host has no such address: set `{setting}` to one that `ip address` lists{}",
                self.such_as_own()
            ),
            _ => String::new(),
        }
    }

    fn remedy_for_holder(&self) -> String {
        let setting = self.purpose.setting();
        let own = self.such_as_own();
        match self.holder.as_ref().and_then(PortHolder::program) {
            Some("systemd-resolved") => format!(
                "set `{setting}` to this host's own address{own}, which systemd-resolved does not use; or set \
                 `DNSStubListener=no` in /etc/systemd/resolved.conf and restart systemd-resolved"
            ),
            Some("dnsmasq") => format!(
                "set `{setting}` to an address that dnsmasq does not use{own}; or stop dnsmasq, which libvirt, LXD and \
                 NetworkManager may have started"
            ),
            Some(OWN_NAME) => {
                "stop the other namegate, or set `server.reuse_port = true` for both to hand over".to_owned()
            }
            Some(program) => format!("stop {program}, or set `{setting}` to another address"),
            None => format!(
                "find the program with `sudo ss -lntup`; stop it, or set `{setting}` to another address"
            ),
        }
    }

    /// An example of an address of this host, with the same port.
    fn such_as_own(&self) -> String {
        // The source address of the default route.
        let own = source_address(nobodys(self.address.ip()));
        let own = own.filter(|own| *own != self.address.ip());
        own.map(|own| format!(", such as {}", SocketAddr::new(own, self.address.port()))).unwrap_or_default()
    }
}

/// The name of systemd's process, which opens the sockets of socket units.
const SYSTEMD: &str = "systemd";

/// How long to wait before the second test of a port.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(10);

/// Tests whether `address` can be bound for `purpose`, and closes the sockets again. It shares no port with a running
/// namegate, which would lose queries to it.
pub fn test_bind(address: SocketAddr, purpose: Purpose) -> Result<(), BindError> {
    let test = || {
        let socket = match purpose {
            Purpose::Udp => new_socket(address, Type::DGRAM, Protocol::UDP)?,
            Purpose::Tcp | Purpose::Http => {
                let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
                socket.set_reuse_address(true)?;
                socket
            }
        };
        socket.bind(&address.into())
    };
    let again = |error: io::Error| match error.kind() {
        // Another `check` may have the port for a moment.
        io::ErrorKind::AddrInUse => {
            std::thread::sleep(MOMENT);
            test()
        }
        _ => Err(error),
    };
    test().or_else(again).map_err(|error| BindError::new(address, purpose, error))
}

impl Endpoint {
    /// Binds `address` for `workers` UDP workers (at least one) and for TCP. With `reuse_port`, other processes may
    /// bind it too.
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
        let failed = |purpose| move |error| BindError::new(address, purpose, error);
        // TCP first: without SO_REUSEPORT a second instance started by mistake fails here, before it receives a query.
        let tcp = bind_tcp(address, reuse_port).map_err(failed(Purpose::Tcp))?;
        let bound = tcp.local_addr().map_err(failed(Purpose::Tcp))?;
        let mut udp = Vec::with_capacity(workers);
        for _ in 0..workers.max(1) {
            let socket = bind_udp(bound).map_err(failed(Purpose::Udp))?;
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
    // The kernel may refuse or reduce this; a smaller buffer only fits shorter bursts.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    enlarge_send_buffer(&socket);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Requests the whole send buffer of a worker for one socket. The kernel grants twice the request, up to its limit.
pub(crate) fn enlarge_send_buffer(socket: &Socket) {
    let _ = socket.set_send_buffer_size(SEND_BUFFERS / 2);
}

/// Send-only sockets on the same port, if one send buffer is too small. With fewer than wanted, fewer replies fit.
fn spare_senders(socket: &UdpSocket, bound: SocketAddr) -> Vec<UdpSocket> {
    let buffer = SockRef::from(socket).send_buffer_size().unwrap_or(SEND_BUFFERS).max(1);
    let spare = || -> io::Result<UdpSocket> {
        let spare = bind_udp(bound)?;
        take_no_more_datagrams(&spare)?;
        Ok(spare)
    };
    (1..(SEND_BUFFERS / buffer).min(SENDERS)).map_while(|_| spare().ok()).collect()
}

/// A non-blocking TCP listener on `address`. With `reuse_port`, other processes may listen there too.
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

/// [`bind_tcp`] for the admin listener.
pub fn bind_admin(address: SocketAddr) -> Result<TcpListener, BindError> {
    bind_tcp(address, false).map_err(|error| BindError::new(address, Purpose::Http, error))
}

/// A TCP listener that waits until another process releases its address.
#[derive(Debug)]
pub struct AwaitedListener {
    socket: Socket,
    address: SocketAddr,
}

impl AwaitedListener {
    /// A listener that will listen on `address`.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        Ok(Self { socket, address })
    }

    /// The address it will listen on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket's file descriptor.
    #[cfg(target_os = "linux")]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }

    /// Waits until the address is free, then listens on it, non-blocking.
    ///
    /// Errors: binding fails for any reason other than an address in use.
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
        // 0.0.0.0 and [::] are two addresses, and both may be in use at once.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// The discard port: no datagrams come from it.
const DISCARD: u16 = 9;

/// Stops a socket from receiving new datagrams. It still holds those that arrived before, and can send.
///
/// The socket is connected to the discard port. A connected socket only receives from its peer; the kernel delivers
/// other datagrams to the port's other sockets (since Linux 5.3), or answers that the port is unreachable.
pub fn take_no_more_datagrams(socket: &UdpSocket) -> io::Result<()> {
    let nobody: IpAddr = match socket.local_addr()? {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    socket.connect((nobody, DISCARD))
}

/// Stops a listener from taking new connections. Those whose handshake has begun can still be accepted.
///
/// The first segment of a handshake is dropped, so the client retransmits it a second later and reaches the next
/// listener.
#[cfg(target_os = "linux")]
pub fn take_no_more_connections(listener: &TcpListener) -> io::Result<()> {
    let instruction = |code: u32, jt, jf, k| socket2::SockFilter::new(code as u16, jt, jf, k);
    // Byte 13 of the TCP header holds the flags (RFC 9293 section 3.1): SYN is 0x02, ACK is 0x10.
    let drop_first_segments = [
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x12),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0x02),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&drop_first_segments)
}

/// Does nothing on this platform: connections that arrive at the last moment are lost.
#[cfg(not(target_os = "linux"))]
pub fn take_no_more_connections(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// True if `address` belongs to this host: only a local address can be bound.
///
/// If any address can be bound (`net.ipv4.ip_nonlocal_bind`, which hosts with keepalived or HAProxy set), the address
/// is local if a socket connected to it uses it as its source.
pub fn is_own_address(address: IpAddr) -> bool {
    let nobodys = nobodys(address);
    let can_bind = |address| UdpSocket::bind((address, 0)).is_ok();
    can_bind(address)
        && (address.is_loopback() || !can_bind(nobodys) || source_address(address) == Some(address))
}

/// A documentation address of the family of `address`, which no host has (RFC 5737, RFC 3849).
fn nobodys(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The source address of a socket connected to `target`; none if there is no route. Sends nothing.
pub fn source_address(target: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match target {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((target, DISCARD)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address to reach a server that listens on `address`: a wildcard is reached through loopback.
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
        let error = BindError::new("[::]:53".parse().unwrap(), Purpose::Tcp, error);
        assert!(error.to_string().contains("remove the IPv6 addresses from `server.listen`"), "{error}");
    }

    #[test]
    fn wildcards_are_reached_through_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:9153"), "127.0.0.1:9153");
        assert_eq!(reached("[::]:9153"), "[::1]:9153");
        assert_eq!(reached("10.0.0.4:9153"), "10.0.0.4:9153");
    }
}
