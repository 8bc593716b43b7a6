//! [`Inherited`]: sockets that whoever started this process listens on for it, by systemd's protocol (sd_listen_fds(3)).
//!
//! They outlive the process: what arrives between one gate and the next waits in them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::net::reply_socket::ReplySocket;
use crate::net::socket::{Endpoint, enlarge_send_buffer};

/// The name of the admin listener's socket (`FileDescriptorName=` in a socket unit).
pub const ADMIN: &str = "admin";

/// Sockets that were handed over; empty where there were none.
#[derive(Debug, Default)]
pub struct Inherited {
    udp: Vec<(SocketAddr, UdpSocket)>,
    tcp: Vec<(SocketAddr, TcpListener)>,
    admin: Option<(SocketAddr, TcpListener)>,
}

/// Why a socket cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("the inherited {what} cannot be used: {fault}\n  help: {help}")]
pub struct InheritedError {
    what: String,
    fault: String,
    help: &'static str,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` counts, where `LISTEN_PID` is this process; each has a name in `LISTEN_FDNAMES`. To be called
    /// once, before there are threads.
    ///
    /// Errors: one of them is no socket of a kind that is listened on.
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
            return Err(refuse("it is a TCP socket that does not listen".to_owned(), KINDS));
        }
        match name {
            Some(ADMIN) if self.admin.is_some() => Err(refuse("there is one already".to_owned(), KINDS)),
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

    /// Where queries arrive; empty: nothing was handed over for them.
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

    /// Where HTTP requests arrive.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// The endpoints for `workers` workers, who share a socket where there is one, and the admin listener.
    ///
    /// Errors: an address has UDP or TCP alone.
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
        (true, _) => return Err(unusable(address, "there is none for UDP".to_owned(), PAIR)),
        (_, None) => return Err(unusable(address, "there is none for TCP".to_owned(), PAIR)),
        (false, Some(_)) if !tcp.is_empty() => {
            return Err(unusable(address, "there is more than one for TCP".to_owned(), PAIR));
        }
        (false, Some(listener)) => listener,
    };
    let mut prepare = || -> io::Result<()> {
        tcp.set_nonblocking(true)?;
        if let [socket] = &*udp {
            let shared: io::Result<Vec<_>> = (1..workers).map(|_| socket.try_clone()).collect();
            udp.extend(shared?);
        }
        // Workers wait in the call that receives.
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
    address.ok_or_else(|| io::Error::other("it has no IP address"))
}

/// `0.0.0.0` and `[::]` are two addresses, here as in the settings.
fn refuse_both_families(address: SocketAddr, socket: &SockRef<'_>) -> Result<(), &'static str> {
    let both = address.is_ipv6() && address.ip().is_unspecified() && !socket.only_v6().unwrap_or(false);
    if both { Err("set `BindIPv6Only=ipv6-only` in [Socket]") } else { Ok(()) }
}

fn unusable(address: SocketAddr, fault: String, help: &'static str) -> InheritedError {
    InheritedError { what: format!("sockets of {address}"), fault, help }
}

const BOTH: &str = "it takes IPv4 as well as IPv6";

const KINDS: &str = "a socket unit may have `ListenDatagram=` and `ListenStream=` with an IP address and port; the one for \
                     HTTP is a `ListenStream=` with `FileDescriptorName=admin`";

const PAIR: &str =
    "name each address twice in the socket unit, with `ListenDatagram=` and with `ListenStream=`";
