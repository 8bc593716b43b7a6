//! [`Inherited`]: listening sockets from the parent process, by systemd's protocol (sd_listen_fds(3)).
//!
//! They outlive the process: packets and connections that arrive between two processes wait in them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::net::reply_socket::ReplySocket;
use crate::net::socket::{Endpoint, enlarge_send_buffer};

/// Name of the admin listener's socket (`FileDescriptorName=` in a socket unit).
pub const ADMIN: &str = "admin";

/// The inherited sockets, if any.
#[derive(Debug, Default)]
pub struct Inherited {
    udp: Vec<(SocketAddr, UdpSocket)>,
    tcp: Vec<(SocketAddr, TcpListener)>,
    admin: Option<(SocketAddr, TcpListener)>,
}

/// Why an inherited socket cannot be used, and how to fix it.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the inherited {what}: {fault}\n  help: {help}")]
pub struct InheritedError {
    what: String,
    fault: String,
    help: &'static str,
}

impl Inherited {
    /// Takes the sockets of `LISTEN_FDS` if `LISTEN_PID` is this process; `LISTEN_FDNAMES` has their names. Call it
    /// once, before a second thread starts.
    ///
    /// Errors: one of them is not a listening socket of a supported kind.
    pub fn take() -> Result<Self, InheritedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let mut inherited = Self::default();
        let names = names.split(':').map(Some).chain(std::iter::repeat(None));
        for (index, name) in (0..handed.len()).zip(names) {
            let what = match name {
                Some(name) if !name.is_empty() => format!("descriptor {index} (`{name}`)"),
                _ => format!("descriptor {index}"),
            };
            inherited.add(&mut handed, index, name, &what)?;
        }
        Ok(inherited)
    }

    fn add(
        &mut self,
        handed: &mut ListenFd,
        index: usize,
        name: Option<&str>,
        what: &str,
    ) -> Result<(), InheritedError> {
        let refuse = |fault: String, help| InheritedError { what: what.to_owned(), fault, help };
        if let Ok(Some(socket)) = handed.take_udp_socket(index) {
            let address =
                own_address(&SockRef::from(&socket)).map_err(|error| refuse(error.to_string(), KINDS))?;
            refuse_both_families(address, &SockRef::from(&socket))
                .map_err(|help| refuse(BOTH.to_owned(), help))?;
            if name == Some(ADMIN) {
                return Err(refuse("HTTP is not served over UDP".to_owned(), KINDS));
            }
            self.udp.push((address, socket));
            return Ok(());
        }
        let listener = handed.take_tcp_listener(index).map_err(|error| refuse(error.to_string(), KINDS))?;
        let Some(listener) = listener else { return Ok(()) };
        let socket = SockRef::from(&listener);
        let address = own_address(&socket).map_err(|error| refuse(error.to_string(), KINDS))?;
        if !socket.is_listener().unwrap_or(false) {
            return Err(refuse("the TCP socket does not listen".to_owned(), KINDS));
        }
        match name {
            Some(ADMIN) if self.admin.is_some() => {
                Err(refuse("there is already an `admin` socket".to_owned(), KINDS))
            }
            Some(ADMIN) => {
                self.admin = Some((address, listener));
                Ok(())
            }
            _ => {
                refuse_both_families(address, &socket).map_err(|help| refuse(BOTH.to_owned(), help))?;
                self.tcp.push((address, listener));
                Ok(())
            }
        }
    }

    /// The addresses for queries; empty if none were inherited.
    pub fn listen(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in
            self.udp.iter().map(|(address, _)| address).chain(self.tcp.iter().map(|(address, _)| address))
        {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }

    /// The address for HTTP.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// The endpoints for `workers` workers, which share a UDP socket if there is only one, and the admin listener.
    ///
    /// Errors: an address lacks UDP or TCP.
    pub fn into_endpoints(
        self,
        workers: usize,
    ) -> Result<(Vec<Endpoint>, Option<TcpListener>), InheritedError> {
        let addresses = self.listen();
        let Self { mut udp, mut tcp, admin } = self;
        let mut endpoints = Vec::with_capacity(addresses.len());
        for address in addresses {
            let of_udp = udp.extract_if(.., |(own, _)| *own == address).map(|(_, socket)| socket).collect();
            let of_tcp: Vec<_> = tcp.extract_if(.., |(own, _)| *own == address).map(|(_, tcp)| tcp).collect();
            endpoints.push(endpoint(address, of_udp, of_tcp, workers)?);
        }
        let admin = admin.map(|(address, listener)| (address, listener.set_nonblocking(true), listener));
        match admin {
            Some((address, Err(error), _)) => Err(unusable(address, error.to_string(), KINDS)),
            Some((_, Ok(()), listener)) => Ok((endpoints, Some(listener))),
            None => Ok((endpoints, None)),
        }
    }
}

fn endpoint(
    address: SocketAddr,
    mut udp: Vec<UdpSocket>,
    mut tcp: Vec<TcpListener>,
    workers: usize,
) -> Result<Endpoint, InheritedError> {
    // RFC 7766 section 5: "All general-purpose DNS implementations MUST support both UDP and TCP transport."
    let tcp = match (udp.is_empty(), tcp.pop()) {
        (true, _) => return Err(unusable(address, "the UDP socket is missing".to_owned(), PAIR)),
        (_, None) => return Err(unusable(address, "the TCP socket is missing".to_owned(), PAIR)),
        (false, Some(_)) if !tcp.is_empty() => {
            return Err(unusable(address, "more than one TCP socket".to_owned(), PAIR));
        }
        (false, Some(listener)) => listener,
    };
    let mut prepare = || -> io::Result<()> {
        tcp.set_nonblocking(true)?;
        if let [socket] = &*udp {
            let shared: io::Result<Vec<_>> = (1..workers).map(|_| socket.try_clone()).collect();
            udp.extend(shared?);
        }
        // Workers block in the receiving call.
        udp.iter().try_for_each(|socket| {
            enlarge_send_buffer(&SockRef::from(socket));
            socket.set_nonblocking(false)
        })
    };
    prepare().map_err(|error| unusable(address, error.to_string(), KINDS))?;
    let udp = udp.into_iter().map(|socket| ReplySocket::new(socket, Vec::new())).collect();
    Ok(Endpoint { address, udp, tcp, is_inherited: true })
}

fn own_address(socket: &SockRef<'_>) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("the socket has no IP address"))
}

/// `0.0.0.0` and `[::]` are two addresses, as in the settings.
fn refuse_both_families(address: SocketAddr, socket: &SockRef<'_>) -> Result<(), &'static str> {
    let both = address.is_ipv6() && address.ip().is_unspecified() && !socket.only_v6().unwrap_or(false);
    if both { Err("set `BindIPv6Only=ipv6-only` in [Socket]") } else { Ok(()) }
}

fn unusable(address: SocketAddr, fault: String, help: &'static str) -> InheritedError {
    InheritedError { what: format!("sockets for {address}"), fault, help }
}

const BOTH: &str = "the socket accepts both IPv4 and IPv6";

const KINDS: &str = "set `ListenDatagram=` and `ListenStream=` in the socket unit to an IP address and port; for HTTP, \
                     use `ListenStream=` with `FileDescriptorName=admin`";

const PAIR: &str =
    "list each address twice in the socket unit, with `ListenDatagram=` and with `ListenStream=`";
